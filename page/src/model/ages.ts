/** The histogram of CLOSE_WAIT's ages. */

import { count, duration } from './format'
import type { Namespace, Observation } from './message'

export interface Bar {
  label: string
  says: string
  sockets: number
  /** 0 to 1 of the tallest. */
  height: number
  /** Older than a healthy one ever is. */
  old: boolean
}

/** detect.close_wait_leak.stale_after, unless it is configured otherwise. */
const OLD_SECONDS = 60

export function bars(namespace: Namespace, observation: Observation): Bar[] | null {
  const counts = namespace.ages?.close_wait
  if (!counts) return null
  const bounds = observation.age_bounds_seconds
  const tallest = Math.max(1, ...counts)
  return counts.map((sockets, at) => {
    const [from, to] = [bounds[at - 1], bounds[at]]
    const label = to === undefined ? `>${duration(from ?? 0)}` : duration(to)
    const range =
      to === undefined
        ? `over ${duration(from ?? 0)}`
        : from === undefined
          ? `up to ${duration(to)}`
          : `${duration(from)} to ${duration(to)}`
    return {
      label,
      says: `${range}: ${count(sockets)}`,
      sockets,
      height: sockets / tallest,
      old: (from ?? 0) >= OLD_SECONDS,
    }
  })
}
