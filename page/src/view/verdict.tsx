import { dated } from '../model/believed'
import { byCause, idOf, type Cause } from '../model/findings'
import { plural } from '../model/format'
import type { Namespace, Observation } from '../model/message'
import { unseen, type Verdict as Said } from '../model/verdict'
import { Card, Line } from './finding'
import { Glyph } from './glyph'
import { DETAILS, goTo } from './going'

/** Those after these are closed at first. */
const OPEN_CARDS = 2

/** The verdict on one namespace; `isOne`: on one of many, whose common verdict stands above. */
export function Verdict(props: {
  said: Said
  namespace: Namespace
  observation: Observation
  isOne: boolean
}) {
  const { said, namespace, observation, isOne } = props
  const findings = namespace.findings ?? []
  const causes = byCause(findings)
  const missing = unseen(namespace, observation)
  const age = dated(namespace, observation)
  return (
    <section
      id={isOne ? DETAILS : 'verdict'}
      class={`verdict ${said.level} ${isOne ? 'one' : ''}`}
      aria-labelledby={isOne ? 'one' : 'headline'}
      tabIndex={-1}
    >
      <div class="saying">
        <Glyph level={said.level} />
        <div>
          {isOne ? (
            <h2 id="one"><bdi class="netns">{namespace.netns}</bdi> {said.headline}</h2>
          ) : (
            <div role="status"><h1 id="headline">{said.headline}</h1></div>
          )}
          <p>{said.blame === null ? null : <><bdi>{said.blame}</bdi> must act. </>}{said.detail}</p>
        </div>
      </div>
      {missing.length > 0 ? (
        <div class="missing">
          <h2>Not read in the last poll</h2>
          <ul>{missing.map(text => <li key={text}>{text}</li>)}</ul>
        </div>
      ) : null}
      {findings.length > OPEN_CARDS ? <Overview causes={causes} /> : null}
      {causes.map((cause, at) => {
        const key = idOf(cause.finding)
        const card = (
          <Card
            cause={cause}
            isOnly={causes.length === 1}
            observation={observation}
            symptomIds={cause.symptoms.map((_, below) => place(at, below))}
          />
        )
        return at < OPEN_CARDS ? <div key={key} id={place(at)} tabIndex={-1}>{card}</div> : (
          <details key={key} id={place(at)} tabIndex={-1}><summary><Line finding={cause.finding} /></summary>{card}</details>
        )
      })}
      {age === null ? null : <p class="aside">{age}</p>}
      {namespace.hidden_processes ? (
        <p class="aside">
          {plural(namespace.hidden_processes, 'process', 'processes')} of other users could not be
          inspected: owners may be missing. Root, or CAP_SYS_PTRACE with CAP_DAC_READ_SEARCH, sees
          them all.
        </p>
      ) : null}
    </section>
  )
}

/** The id of a cause, or of a symptom below it. */
const place = (at: number, below?: number): string =>
  below === undefined ? `finding-${at + 1}` : `finding-${at + 1}-${below + 1}`

/** All that is wrong at a glance; each line leads to its card. */
function Overview({ causes }: { causes: Cause[] }) {
  return (
    <ol class="overview">
      {causes.map(({ finding, symptoms }, at) => (
        <li key={idOf(finding)}>
          <a href={`#${place(at)}`} onClick={goTo(place(at))}><Line finding={finding} /></a>
          {symptoms.length === 0 ? null : (
            <ol class="symptoms" aria-label="Caused by this">
              {symptoms.map((symptom, below) => (
                <li key={idOf(symptom)}>
                  <a href={`#${place(at, below)}`} onClick={goTo(place(at, below))}><Line finding={symptom} /></a>
                </li>
              ))}
            </ol>
          )}
        </li>
      ))}
    </ol>
  )
}
