import { closes } from '../model/closing'
import { shortCount } from '../model/format'
import type { PortEvents } from '../model/message'
import { say } from '../words'

/** The time from the other end's FIN to ours; nothing where none was measured. */
export function TimeToClose({ ports }: { ports: PortEvents[] }) {
  const shown = closes(ports)
  if (shown.length === 0) return null
  const its = say.tables
  return (
    <section class="closing" aria-labelledby="closing">
      <h3 id="closing">{its.timeToClose}</h3>
      <ol class="bars">
        {shown.map(bar => (
          <li key={bar.edge} class={`${bar.isStale ? 'old' : ''} ${bar.closes > 0 ? 'some' : ''} ${bar.isMarked ? 'marked' : ''}`}>
            <span class="unseen">{bar.says}</span>
            <span class="n" aria-hidden="true">{bar.closes > 0 ? shortCount(bar.closes) : ''}</span>
            <span class="bar" style={{ height: `${bar.height * 100}%` }} />
            <span class="edge" aria-hidden="true"><span>{bar.edge}</span></span>
          </li>
        ))}
      </ol>
      <p class="note">{its.timeToCloseNote}</p>
    </section>
  )
}
