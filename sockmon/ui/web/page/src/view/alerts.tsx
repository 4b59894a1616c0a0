import { clock, duration } from '../model/format'
import type { Alert, AlertChange, Observation } from '../model/message'

const SHOWN = 12

/** changes: null until the daemon has told them. */
export function Alerts(props: { observation: Observation; changes: AlertChange[] | null }) {
  const { observation, changes } = props
  const { alerts, taken_at: now } = observation
  const current = alerts.filter(({ state }) => state !== 'resolved')
  return (
    <section class="card alerts" aria-labelledby="alerts">
      <h2 id="alerts">Alerts</h2>
      {current.length === 0 ? <p class="empty">None is firing.</p> : (
        <ul class="current">{current.map(alert => <Current key={JSON.stringify(alert.labels)} alert={alert} now={now} />)}</ul>
      )}
      <h3>What has been</h3>
      {changes === null ? <p class="empty">History is on its way.</p>
      : changes.length === 0 ? <p class="empty">Nothing has fired since this history began.</p> : (
        <ol class="past">
          {changes.slice(-SHOWN).reverse().map(change => (
            <li key={`${change.at}${change.state}${JSON.stringify(change.labels)}`} class={`${change.state} ${change.labels['severity'] ?? ''}`}>
              <time>{clock(change.at, now)}</time>
              <span class="badge">{change.state}</span>
              <span>
                {name(change.labels)}
                {change.state === 'resolved' ? ` after ${duration(change.at - change.firing_since)}` : ''}
              </span>
            </li>
          ))}
        </ol>
      )}
    </section>
  )
}

function Current({ alert, now }: { alert: Alert; now: number }) {
  const { labels, annotations } = alert
  return (
    <li class={`${alert.state} ${labels['severity'] ?? ''}`}>
      <span class="badge">{alert.state}</span>
      <span>
        <a href={annotations['runbook_url'] ?? ''} rel="noreferrer">{name(labels)}</a>{' '}
        <span class="note">{labels['severity']} · for {duration(now - alert.since)}</span>
      </span>
    </li>
  )
}

const name = (labels: Record<string, string>): string =>
  `${labels['alertname'] ?? ''}${labels['port'] ? ` :${labels['port']}` : ''}${labels['owner'] ? ` ${labels['owner']}` : ''}`
