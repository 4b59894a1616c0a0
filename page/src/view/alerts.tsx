import { clock, duration, plural } from '../model/format'
import { isOfMany } from '../model/host'
import type { Alert, AlertChange, Namespace, Observation } from '../model/message'
import { held } from '../model/verdict'

const SHOWN = 12

/** changes: null until the history is loaded. */
export function Alerts(props: {
  namespace: Namespace
  observation: Observation
  changes: AlertChange[] | null
}) {
  const { namespace, observation, changes } = props
  const { alerts, taken_at: now } = observation
  const kept = held(namespace, observation)
  const current = alerts.filter(({ state }) => state !== 'resolved')
  return (
    <section class="card alerts" aria-labelledby="alerts">
      <h2 id="alerts">Alerts</h2>
      {current.length === 0 ? <p class="empty">None is firing{isOfMany(observation) ? ' here' : ''}.</p> : (
        <ul class="current">
          {current.map(alert => (
            <Current key={JSON.stringify(alert.labels)} alert={alert} now={now} isHeld={kept.includes(alert)} />
          ))}
        </ul>
      )}
      {observation.alerts_elsewhere > 0 ? (
        <p class="note">{plural(observation.alerts_elsewhere, 'alert')} in other namespaces.</p>
      ) : null}
      <h3>History</h3>
      {changes === null ? <p class="empty">Loading the history.</p>
      : changes.length === 0 ? <p class="empty">Nothing has fired{isOfMany(observation) ? ' here' : ''} since this history began.</p> : (
        <ol class="past">
          {changes.slice(-SHOWN).reverse().map(change => (
            <li key={`${change.at}${change.state}${JSON.stringify(change.labels)}`} class={`${change.state} ${change.labels['severity'] ?? ''}`}>
              <time>{clock(change.at, now)}</time>
              <span class="badge">{change.previous_severity === null ? change.state : `now ${change.labels['severity']}`}</span>
              <span>
                <Name labels={change.labels} />
                {change.state === 'resolved'
                  ? ` after ${duration(change.at - change.firing_since)}`
                  : `, ${change.previous_severity === null ? '' : `${change.previous_severity} → `}${change.labels['severity'] ?? ''}`}
              </span>
            </li>
          ))}
        </ol>
      )}
    </section>
  )
}

function Current({ alert, now, isHeld }: { alert: Alert; now: number; isHeld: boolean }) {
  const { labels, annotations } = alert
  return (
    <li class={`${alert.state} ${labels['severity'] ?? ''}`}>
      <span class="badge">{alert.state}</span>
      <span>
        <a href={annotations['runbook_url'] ?? ''} rel="noreferrer"><Name labels={labels} /></a>{' '}
        <span class="note">{labels['severity']} · for {duration(now - alert.since)}{isHeld ? ' · no longer found, still firing for a while' : ''}</span>
      </span>
    </li>
  )
}

function Name({ labels }: { labels: Record<string, string> }) {
  const { alertname, port, owner } = labels
  return <>{alertname}{port ? ` :${port}` : ''}{owner ? <> <bdi>{owner}</bdi></> : null}</>
}
