/** The plot's columns: what /api/v1/history answered, and what each poll has added since. */

import {
  STATES,
  type History,
  type Namespace,
  type Observation,
  type Range,
  type State,
} from './message'
import { totals } from './states'

const SPAN: Record<Range, number> = { hour: 3_600, day: 86_400 }
/** What can be shown, in seconds, and which of the daemon's ranges has it. */
export const SPANS = {
  '15m': { seconds: 900, range: 'hour' },
  '1h': { seconds: 3_600, range: 'hour' },
  '6h': { seconds: 21_600, range: 'day' },
  '24h': { seconds: 86_400, range: 'day' },
} as const satisfies Record<string, { seconds: number; range: Range }>

export type Span = keyof typeof SPANS
export const SPAN_NAMES = Object.keys(SPANS) as Span[]

/** The daemon's rows of the hour are a second apart at least, or nearly. */
const STEP_SECONDS = 0.75

export interface Columns {
  /** What a row of the daemon's stands for; null: it keeps no history of this namespace. */
  step: number | null
  times: number[]
  states: Record<State, (number | null)[]>
}

export const columnsOf = (history: History): Columns => ({
  step: history.step_seconds,
  times: history.times,
  states: Object.fromEntries(
    STATES.map(state => [state, history.max[state] ?? history.times.map(() => null)]),
  ) as Record<State, (number | null)[]>,
})

/** Whether the daemon has to be asked again: there was a gap, or its clock was set. */
export function isBehind(
  columns: Columns,
  namespace: Namespace,
  observation: Observation,
  range: Range,
): boolean {
  if (columns.step === null) return false
  const away = Math.abs(observation.taken_at - (columns.times.at(-1) ?? 0))
  const beat = Math.max(observation.interval_seconds, namespace.beat_seconds)
  return away > Math.max(1.5 * columns.step, 2.5 * beat, range === 'day' ? 0 : 3)
}

/** The columns with one poll more, if it was the namespace's turn; without what is too old. */
export function appended(
  columns: Columns,
  namespace: Namespace,
  observation: Observation,
  range: Range,
): Columns {
  const at = observation.taken_at
  const last = columns.times.at(-1) ?? 0
  if (namespace.looked_at !== at || at < last + STEP_SECONDS) return columns
  const counts = isOfNow(namespace, observation) ? totals(namespace) : null
  const from = columns.times.findIndex(time => time >= at - SPAN[range])
  const kept = from < 0 ? columns.times.length : from
  return {
    step: columns.step,
    times: [...columns.times.slice(kept), at],
    states: Object.fromEntries(
      STATES.map(state => [state, [...columns.states[state].slice(kept), counts?.[state] ?? null]]),
    ) as Record<State, (number | null)[]>,
  }
}

/** Whether the last poll read the counts, or their turn has yet to come: as history/sample.py has it. */
function isOfNow({ tcp, beat_seconds }: Namespace, { taken_at, interval_seconds }: Observation): boolean {
  const age = tcp === null ? Infinity : taken_at - tcp.taken_at
  return age === 0 || (beat_seconds > interval_seconds && age <= beat_seconds + interval_seconds)
}

/** The rows of the last so many seconds. */
export function lately(columns: Columns, seconds: number): Columns {
  const from = (columns.times.at(-1) ?? 0) - seconds
  const first = columns.times.findIndex(time => time >= from)
  if (first <= 0) return columns
  return {
    step: columns.step,
    times: columns.times.slice(first),
    states: Object.fromEntries(
      STATES.map(state => [state, columns.states[state].slice(first)]),
    ) as Record<State, (number | null)[]>,
  }
}

/** States that occur in these columns, in their usual order. */
export const occurring = (columns: Columns): State[] =>
  STATES.filter(state => columns.states[state].some(n => n !== null && n > 0))
