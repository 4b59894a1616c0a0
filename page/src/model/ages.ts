/** How long sockets have been in their state. */

import { say } from '../words'
import { count, duration } from './format'
import type { Namespace, Observation, State } from './message'

export interface Bar {
  /** Where it begins, on the axis. */
  edge: string
  says: string
  sockets: number
  /** 0 to 1 of the tallest. */
  height: number
  /** All of them are stale. */
  old: boolean
}

/** The histogram of CLOSE_WAIT's ages up to the oldest, or to a stale one's; null: not known. */
export function bars(namespace: Namespace, observation: Observation): Bar[] | null {
  const counts = namespace.ages?.close_wait
  if (!counts) return null
  const bounds = observation.age_bounds_seconds
  const stale = namespace.stale_after_seconds ?? Infinity
  const tallest = Math.max(1, ...counts)
  const last = counts.findLastIndex(sockets => sockets > 0)
  const needed = Math.max(last, bounds.findIndex(bound => bound >= stale)) + 2
  return counts.slice(0, needed).map((sockets, at) => {
    const [from, to] = [bounds[at - 1], bounds[at]]
    const range =
      to === undefined
        ? say.ages.over(duration(from ?? 0))
        : from === undefined
          ? say.ages.upTo(duration(to))
          : say.ages.range(duration(from), duration(to))
    return {
      edge: duration(from ?? 0),
      says: `${range}${say.colon}${count(sockets)}`,
      sockets,
      height: sockets / tallest,
      old: (from ?? 0) >= stale,
    }
  })
}

/** How many sockets of a state are older than a CLOSE_WAIT socket may become, as exactly as is known. */
export function older(
  namespace: Namespace,
  observation: Observation,
  state: State,
): { sockets: number; seconds: number } | null {
  const counts = namespace.ages?.[state]
  const from = observation.age_bounds_seconds.findIndex(bound => bound >= (namespace.stale_after_seconds ?? Infinity))
  const seconds = observation.age_bounds_seconds[from]
  if (!counts || seconds === undefined) return null
  return { sockets: counts.slice(from + 1).reduce((sum, n) => sum + n, 0), seconds }
}
