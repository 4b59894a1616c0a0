import { count, duration, plural } from '../model/format'
import type { Namespace, Observation, State } from '../model/message'
import { explanation, totals, whereAbouts } from '../model/states'

export function Explained(props: { state: State; namespace: Namespace; observation: Observation }) {
  const { state, namespace, observation } = props
  const told = explanation(state, namespace.settings)
  const here = totals(namespace)?.[state]
  return (
    <section class="card explained" aria-labelledby="state" data-state={state}>
      <h2 id="state"><span class={`swatch ${state}`} />{told.name}</h2>
      <p class="means">{told.means}</p>
      <dl>
        <div><dt>Whose move it is</dt><dd><strong>{told.mover}.</strong> {told.next}</dd></div>
        <div><dt>If there are many</dt><dd>{told.many}</dd></div>
        <div>
          <dt>Here</dt>
          <dd>
            {here === undefined ? 'Not known.' : here === 0 ? 'None.' : `${plural(here, 'socket')}.`}{' '}
            {old(namespace, observation, state)}
            <ul>
              {whereAbouts(namespace, state).map(({ place, sockets }) => (
                <li key={place}>{count(sockets)} {place}</li>
              ))}
            </ul>
          </dd>
        </div>
      </dl>
    </section>
  )
}

/** How many are older than a minute, where ages are known. */
function old(namespace: Namespace, observation: Observation, state: State): string {
  const ages = namespace.ages?.[state]
  if (!ages) return ''
  const from = observation.age_bounds_seconds.indexOf(60)
  if (from < 0) return ''
  const n = ages.slice(from + 1).reduce((sum, sockets) => sum + sockets, 0)
  return n > 0 ? `${count(n)} for more than ${duration(60)}.` : ''
}
