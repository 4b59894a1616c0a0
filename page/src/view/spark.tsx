import type { GroupHistory, State } from '../model/message'
import { nameOf } from '../model/states'

const WIDTH = 96
const HEIGHT = 24

/** The history of one group, a point a minute or so; null: none is kept. */
export interface Recent {
  times: number[]
  group: GroupHistory
}

/** The states of which the history of a group is kept; the sum of all is `sockets`. */
export const KEPT: readonly State[] = ['established', 'time_wait', 'close_wait']

const points = (times: number[], values: (number | null)[], top: number, width: number, height: number): string => {
  const [first, last] = [times[0] ?? 0, times.at(-1) ?? 1]
  return times.flatMap((at, n) => {
    const value = values[n]
    if (value == null) return []
    const x = ((at - first) / Math.max(1, last - first)) * (width - 2) + 1
    return `${x.toFixed(1)},${(height - 1.5 - (value / Math.max(1, top)) * (height - 3)).toFixed(1)}`
  }).join(' ')
}

const highest = (values: (number | null)[]): number => Math.max(0, ...values.map(value => value ?? 0))

/** One line over the last hour; it needs two points. */
export function Spark({ recent, series, label }: { recent: Recent; series: string; label: string }) {
  const values = recent.group.max[series] ?? []
  if (values.filter(value => value !== null).length < 2) return null
  return (
    <svg class={`spark ${series}`} width={WIDTH} height={HEIGHT} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label}>
      <polyline points={points(recent.times, values, highest(values), WIDTH, HEIGHT)} />
    </svg>
  )
}

/** A group's states over the last hour. */
export function Lines({ recent, label }: { recent: Recent; label: string }) {
  const { max } = recent.group
  const top = highest(max['sockets'] ?? [])
  if (recent.times.length < 2) return null
  return (
    <div class="lines">
      <svg viewBox="0 0 300 80" preserveAspectRatio="none" role="img" aria-label={label}>
        {KEPT.map(state => (
          <polyline key={state} class={state} points={points(recent.times, max[state] ?? [], top, 300, 80)} />
        ))}
      </svg>
      <p class="note">
        {KEPT.filter(state => highest(max[state] ?? []) > 0).map(state => (
          <span key={state}><span class={`swatch ${state}`} /> {nameOf(state)} </span>
        ))}
      </p>
    </div>
  )
}
