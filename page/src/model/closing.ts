/** How long applications take to close after the other end's FIN. */

import { say } from '../words'
import { count, latency } from './format'
import type { PortEvents } from './message'

/** Up to here Linux delays the acknowledgment of a FIN, and from here a socket counts as stale. */
export const DELAYED = 0.04
export const STALE = 60

export interface Close {
  /** Where it begins, on the axis. */
  edge: string
  says: string
  closes: number
  /** 0 to 1 of the tallest. */
  height: number
  /** It begins at one of the two. */
  isMarked: boolean
  isStale: boolean
}

/** All ports' times to close in one histogram; empty where none was measured. */
export function closes(ports: PortEvents[]): Close[] {
  const known = ports.flatMap(({ close_wait_seconds: its }) => its ?? [])
  const bounds = known[0]?.bounds ?? []
  const counts = (known[0]?.counts ?? []).map((_, at) => known.reduce((sum, its) => sum + (its.counts[at] ?? 0), 0))
  const tallest = Math.max(1, ...counts)
  return counts.map((closed, at) => {
    const [from, to] = [bounds[at - 1] ?? 0, bounds[at]]
    const range = to === undefined ? say.ages.over(latency(from)) : say.ages.range(latency(from), latency(to))
    return {
      edge: latency(from),
      says: `${range}${say.colon}${count(closed)}`,
      closes: closed,
      height: closed / tallest,
      isMarked: from === DELAYED || from === STALE,
      isStale: from >= STALE,
    }
  })
}
