/** Whether what the page shows is current. */

import { say } from '../words'
import { duration } from './format'

export type Link =
  /** again: after it was lost. */
  | { phase: 'connecting'; again: boolean }
  | { phase: 'live' }
  /** refused: the daemon answered, with an error. */
  | { phase: 'lost'; retryAt: number; refused: boolean }
  | { phase: 'paused' }

export interface Status {
  kind: 'live' | 'waiting' | 'old' | 'gone' | 'paused'
  text: string
  /** Changes each second: screen readers do not announce it. */
  counting: string
}

/** The same as the daemon's STALE_AFTER_INTERVALS. */
export const OLD_AFTER_INTERVALS = 3
/** How long a message from the daemon may take. */
const SLACK_SECONDS = 2

/**
 * When the poll that is shown was, on the clock of `now`; null: there is none yet. The first beat after
 * an observation says when; later beats may make it older, but never younger.
 */
export function polledAt(known: number | null, isFirst: boolean, age: number | null, now: number): number | null {
  if (age === null) return known
  const polled = now - age
  if (isFirst) return polled
  return known === null ? null : Math.min(known, polled)
}

/** age: seconds since the poll that is shown, or null if there was none; now: as retryAt, in seconds. */
export function status(link: Link, age: number | null, interval: number, now: number): Status {
  const its = say.status
  const old = age === null ? '' : its.old(duration(age)) + say.space
  if (link.phase === 'lost' || (link.phase === 'connecting' && link.again)) {
    const wait = link.phase === 'lost' ? Math.ceil(link.retryAt - now) : 0
    const again = wait > 0 ? its.againIn(duration(wait)) : its.again
    const why = link.phase === 'lost' && link.refused
      ? its.refused
      : its.silent
    return { kind: 'gone', text: why, counting: old + again }
  }
  if (link.phase === 'paused') return { kind: 'paused', text: its.paused, counting: old }
  if (age === null) return { kind: 'waiting', text: its.first, counting: '' }
  if (age > OLD_AFTER_INTERVALS * interval + SLACK_SECONDS) {
    return { kind: 'old', text: its.stands, counting: its.old(duration(age)) }
  }
  if (link.phase === 'connecting') return { kind: 'waiting', text: its.reconnecting, counting: old }
  return { kind: 'live', text: '', counting: its.live(duration(age), duration(interval)) }
}

/** Seconds until the next try: 1, 2, 4 ... 30, randomized so that pages do not reconnect all at once. */
export const backoff = (tries: number, random: number): number =>
  Math.min(30, 2 ** tries) * (0.75 + random / 2)
