import { EDGES, END, NODE, PLACES, SIZE } from '../model/diagram'
import { shortCount } from '../model/format'
import { STATES, type Namespace, type State } from '../model/message'
import { nameOf, totals } from '../model/states'
import { say } from '../words'

/** In reading order, for the keyboard. */
const READ = [...STATES].sort((a, b) => PLACES[a].y - PLACES[b].y || PLACES[a].x - PLACES[b].x)

export function Diagram(props: {
  namespace: Namespace
  chosen: State
  choose: (state: State) => void
}) {
  const { namespace, chosen, choose } = props
  const counts = totals(namespace)
  return (
    <section class="diagram" aria-labelledby="diagram">
      <h3 id="diagram">{say.states.title}</h3>
      <svg viewBox={`0 0 ${SIZE.width} ${SIZE.height}`} role="group" aria-labelledby="diagram">
        <defs>
          <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">
            <path d="M0 0.5L8 4L0 7.5z" />
          </marker>
        </defs>
        {EDGES.map(({ path, label, x, y, anchor }) => (
          <g class="edge" key={path} aria-hidden="true">
            <path d={path} marker-end="url(#tip)" />
            <text x={x} y={y} text-anchor={anchor}>{say.states.edges[label]}</text>
          </g>
        ))}
        <circle class="end" cx={END.x} cy={END.y} r="5" aria-hidden="true" />
        <text class="end" x={END.x} y={END.y + 22} text-anchor="middle" aria-hidden="true">{say.states.edges.gone}</text>
        {READ.map(state => (
          <Node key={state} state={state} n={counts?.[state] ?? null} chosen={state === chosen} choose={choose} />
        ))}
      </svg>
    </section>
  )
}

function Node(props: { state: State; n: number | null; chosen: boolean; choose: (state: State) => void }) {
  const { state, n, chosen, choose } = props
  const { x, y } = PLACES[state]
  const name = nameOf(state)
  const { width, height } = NODE
  return (
    <g
      class={`node ${state} ${n ? '' : 'none'}`}
      transform={`translate(${x - width / 2} ${y - height / 2})`}
      role="button"
      tabIndex={0}
      aria-pressed={chosen}
      aria-label={n === null ? say.states.unknown(name) : say.states.node(name, shortCount(n), n === 1)}
      onClick={() => choose(state)}
      onFocus={() => choose(state)}
      onKeyDown={event => {
        if (event.key === 'Enter' || event.key === ' ') {
          event.preventDefault()
          choose(state)
        }
      }}
    >
      <rect width={width} height={height} rx="8" />
      <rect class="mark" width="5" height={height - 16} x="7" y="8" rx="2.5" />
      <text class="name" x="19" y="19">{name}</text>{' '}
      <text class="n" x="19" y="40">{n === null ? '–' : shortCount(n)}</text>
    </g>
  )
}
