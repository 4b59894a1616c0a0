import { bars } from '../model/ages'
import { count, duration } from '../model/format'
import type { Namespace, Observation } from '../model/message'
import { totals } from '../model/states'
import { say } from '../words'

/** How long sockets have been in CLOSE_WAIT; nothing where there are none. */
export function Ages({ namespace, observation }: { namespace: Namespace; observation: Observation }) {
  const shown = bars(namespace, observation)
  if (shown === null ? !totals(namespace)?.close_wait : !shown.some(bar => bar.sockets > 0)) return null
  const { close_wait_oldest_seconds: oldest, stale_after_seconds: stale } = namespace
  const its = say.ages
  return (
    <section class="card ages" aria-labelledby="ages">
      <h2 id="ages">{its.title}</h2>
      {shown === null ? <p class="empty">{its.unread}</p> : (
        <ol class="bars">
          {shown.map(bar => (
            <li key={bar.edge} class={`${bar.old ? 'old' : ''} ${bar.sockets > 0 ? 'some' : ''}`}>
              <span class="unseen">{bar.says}</span>
              <span class="n" aria-hidden="true">{bar.sockets > 0 ? count(bar.sockets) : ''}</span>
              <span class="bar" style={{ height: `${bar.height * 100}%` }} />
              <span class="edge" aria-hidden="true"><span>{bar.edge}</span></span>
            </li>
          ))}
        </ol>
      )}
      {shown === null ? null : (
        <p class="note">
          {[oldest ? its.oldest(duration(oldest)) : '', its.note, stale === null ? '' : its.stale(duration(stale))]
            .filter(Boolean).join(say.space)}
        </p>
      )}
    </section>
  )
}
