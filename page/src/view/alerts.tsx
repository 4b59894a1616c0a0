import { duration } from '../model/format'
import type { AlertChange, Namespace, Observation, Severity } from '../model/message'
import { held } from '../model/verdict'
import { language, say } from '../words'
import { Time } from './time'

const SHOWN = 20

/** What alerts did in the time that is shown; nothing if that is nothing. */
export function Alerts(props: { namespace: Namespace; observation: Observation; changes: AlertChange[] }) {
  const { namespace, observation, changes } = props
  const now = observation.taken_at
  const kept = held(namespace, observation)
  if (changes.length === 0 && kept.length === 0 && observation.alerts_elsewhere === 0) return null
  return (
    <div class="alerts">
      {kept.map(({ labels }) => (
        <p class="note" key={JSON.stringify(labels)}><Name labels={labels} />{say.colon}{say.past.held}{say.stop}</p>
      ))}
      {observation.alerts_elsewhere > 0 ? <p class="note">{say.past.elsewhere(observation.alerts_elsewhere)}</p> : null}
      {changes.length === 0 ? null : (
        <details>
          <summary>{say.past.changes(changes.length)}</summary>
          <ol>
            {changes.slice(-SHOWN).reverse().map(change => (
              <Change key={`${change.at}${change.state}${JSON.stringify(change.labels)}`} change={change} now={now} />
            ))}
          </ol>
        </details>
      )}
    </div>
  )
}

/** One line: when, what, which alert; a change of severity is one event. */
function Change({ change, now }: { change: AlertChange; now: number }) {
  const { at, state, labels, firing_since, previous_severity: previous } = change
  const severity = labels['severity'] as Severity
  return (
    <li class={`${state} ${severity}`}>
      <Time at={at} now={now} />{' '}
      <span class="badge">{previous === null ? say.alert[state] : say.past.nowSeverity(say.severity[severity])}</span>{' '}
      <span>
        <Name labels={labels} />{' '}
        {state === 'resolved'
          ? say.past.after(duration(at - firing_since))
          : previous === null ? say.severity[severity] : `${say.severity[previous as Severity]} → ${say.severity[severity]}`}
      </span>
    </li>
  )
}

function Name({ labels }: { labels: Record<string, string> }) {
  const { alertname, port, owner, path } = labels
  return (
    <>
      <a href={`/runbooks/${alertname}?lang=${language}`}>{alertname}</a>
      {port ? ` :${port}` : ''}{path ? <> <bdi>{path}</bdi></> : null}{owner ? <> <bdi>{owner}</bdi></> : null}
    </>
  )
}
