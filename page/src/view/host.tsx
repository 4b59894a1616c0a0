import { count } from '../model/format'
import { hostVerdict, neighbourhood, troubled, type Listed } from '../model/host'
import type { Observation } from '../model/message'
import { linkTo } from '../model/namespaces'
import { Glyph } from './glyph'
import { goToDetails } from './going'

/** More are in the list below. */
const NAMED = 5

/** The verdict on all namespaces together; those in trouble are links to their details. */
export function Host({ all, observation }: { all: Listed[]; observation: Observation }) {
  const said = hostVerdict(all, observation)
  const bad = troubled(all)
  const around = neighbourhood(observation.neighbours)
  const link = (netns: string) => <a href={linkTo(netns)} onClick={goToDetails}><bdi>{netns}</bdi></a>
  return (
    <section id="verdict" class={`verdict ${said.level}`} aria-labelledby="headline" tabIndex={-1}>
      <div class="saying">
        <Glyph level={said.level} />
        <div>
          <div role="status"><h1 id="headline">{said.headline}</h1></div>
          <p>
            {said.blame === null ? null : <><bdi>{said.blame}</bdi> must act. </>}
            {said.where === null ? null : <>It is in {link(said.where)}. </>}
            {said.detail}
          </p>
        </div>
      </div>
      {bad.length > 1 ? (
        <ol class="overview">
          {bad.slice(0, NAMED).map(({ line, level, says, blame }) => (
            <li key={line.netns}>
              <span class={`line ${level}`}>
                <span class="badge">{level}</span> {link(line.netns)} · {says}
                {blame === null ? null : <> · <bdi>{blame}</bdi></>}
              </span>
            </li>
          ))}
          {bad.length > NAMED ? <li class="note">and {count(bad.length - NAMED)} more in the list below</li> : null}
        </ol>
      ) : null}
      {observation.hints.length > 0 ? (
        <div class="missing">
          <h2>What would show more</h2>
          <ul>{observation.hints.map(text => <li key={text}>{text}</li>)}</ul>
        </div>
      ) : null}
      {around === null ? null : <p class="aside">{around}</p>}
    </section>
  )
}
