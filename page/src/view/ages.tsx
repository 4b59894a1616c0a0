import { bars } from '../model/ages'
import { count, duration } from '../model/format'
import type { Namespace, Observation } from '../model/message'

export function Ages(props: { namespace: Namespace; observation: Observation }) {
  const { namespace, observation } = props
  const shown = bars(namespace, observation)
  const { close_wait_oldest_seconds: oldest, stale_after_seconds: stale } = namespace
  return (
    <section class="card ages" aria-labelledby="ages">
      <h2 id="ages">Age of CLOSE_WAIT sockets</h2>
      {shown === null ? (
        <p class="empty">Ages could not be read.</p>
      ) : !shown.some(bar => bar.sockets > 0) ? (
        <p class="empty">No socket is in CLOSE_WAIT, as it should be.</p>
      ) : (
        <>
          <ol class="bars">
            {shown.map(bar => (
              <li key={bar.label} class={`${bar.old ? 'old' : ''} ${bar.sockets > 0 ? 'some' : ''}`}>
                <span class="unseen">{bar.says}</span>
                <span class="n" aria-hidden="true">{bar.sockets > 0 ? count(bar.sockets) : ''}</span>
                <span class="bar" style={{ height: `${bar.height * 100}%` }} />
                <span class="label" aria-hidden="true"><span>{bar.label}</span></span>
              </li>
            ))}
          </ol>
          <p class="note">
            Sockets by age{oldest ? `; the oldest has waited ${duration(oldest)}` : ''}. A healthy
            application closes within seconds. {stale === null ? '' : `After ${duration(stale)} (in full colour) a socket is stale, unless it still sends data.`}
          </p>
        </>
      )}
    </section>
  )
}
