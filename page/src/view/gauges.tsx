import { percent } from '../model/format'
import { gauges, type Gauge } from '../model/gauges'
import type { Namespace } from '../model/message'
import { say } from '../words'

export function Gauges({ namespace }: { namespace: Namespace }) {
  return (
    <section class="card gauges" aria-labelledby="limits">
      <h2 id="limits">{say.limits.title}</h2>
      {gauges(namespace).map(gauge => <Meter key={gauge.name} gauge={gauge} />)}
    </section>
  )
}

function Meter({ gauge }: { gauge: Gauge }) {
  const { name, ratio, value, note, severity } = gauge
  return (
    <div class={`gauge ${severity ?? ''}`}>
      <span class="name">{name}</span>
      <span class="share">{ratio === null ? '' : percent(ratio)}</span>
      {ratio === null ? null : (
        <div
          class="meter"
          role="meter"
          aria-label={name}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={Math.min(100, Math.round(ratio * 100))}
          aria-valuetext={severity ? `${value}${say.comma}${say.severity[severity]}` : value}
        >
          <div style={{ width: `${Math.min(100, ratio * 100)}%` }} />
        </div>
      )}
      <span class="value">{value}</span>
      <span class="note">{note}</span>
    </div>
  )
}
