/** The plot's columns: what /api/v1/history told, and what each poll has added since. */

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
/** The daemon's rows of the hour are a second apart at least, or nearly. */
const STEP_SECONDS = 0.75

export interface Columns {
  times: number[]
  states: Record<State, (number | null)[]>
}

export const columnsOf = (history: History): Columns => ({
  times: history.times,
  states: Object.fromEntries(
    STATES.map(state => [state, history.max[state] ?? history.times.map(() => null)]),
  ) as Record<State, (number | null)[]>,
})

/** Whether the daemon has to be asked again: there was a gap, or its clock was set. */
export function isBehind(columns: Columns, observation: Observation, range: Range): boolean {
  const away = Math.abs(observation.taken_at - (columns.times.at(-1) ?? 0))
  return away > (range === 'day' ? 90 : Math.max(3, 2.5 * observation.interval_seconds))
}

/** The columns with one poll more, and without what is older than the range. */
export function appended(columns: Columns, namespace: Namespace, at: number, range: Range): Columns {
  const last = columns.times.at(-1) ?? 0
  if (at < last + STEP_SECONDS) return columns
  const counts = namespace.tcp?.taken_at === at ? totals(namespace) : null
  const from = columns.times.findIndex(time => time >= at - SPAN[range])
  const kept = from < 0 ? columns.times.length : from
  return {
    times: [...columns.times.slice(kept), at],
    states: Object.fromEntries(
      STATES.map(state => [state, [...columns.states[state].slice(kept), counts?.[state] ?? null]]),
    ) as Record<State, (number | null)[]>,
  }
}
