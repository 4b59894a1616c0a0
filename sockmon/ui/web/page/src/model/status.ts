/** Is what the page shows still true? */

import { duration } from './format'

export type Link =
  | { phase: 'connecting' }
  | { phase: 'live' }
  /** refused: the daemon answered, and would not let us listen. */
  | { phase: 'lost'; retryAt: number; refused: boolean }
  | { phase: 'paused' }

export interface Status {
  kind: 'live' | 'waiting' | 'old' | 'gone' | 'paused'
  text: string
}

/** As the daemon has it: STALE_AFTER_INTERVALS. */
export const OLD_AFTER_INTERVALS = 3
/** What the way from the daemon may take. */
const SLACK_SECONDS = 2

/** age: seconds since the last poll, or null if there was none; now: as retryAt, in seconds. */
export function status(link: Link, age: number | null, interval: number, now: number): Status {
  const old = age === null ? '' : ` What you see is ${duration(age)} old.`
  if (link.phase === 'lost') {
    const wait = Math.ceil(link.retryAt - now)
    const again = wait > 0 ? ` Trying again in ${duration(wait)}.` : ' Trying again.'
    const why = link.refused
      ? 'sockmon does not let this page listen: too many are open, or it wants a login.'
      : 'The daemon does not answer.'
    return { kind: 'gone', text: why + old + again }
  }
  if (link.phase === 'paused') return { kind: 'paused', text: `Paused in the background.${old}` }
  if (age === null) return { kind: 'waiting', text: 'Waiting for the first poll.' }
  if (age > OLD_AFTER_INTERVALS * interval + SLACK_SECONDS) {
    return { kind: 'old', text: `This is ${duration(age)} old: no poll has ended since.` }
  }
  return { kind: 'live', text: `polled ${duration(age)} ago, every ${duration(interval)}` }
}

/** Seconds until the next try: 1, 2, 4 ... 30, spread so that pages do not come all at once. */
export const backoff = (tries: number, random: number): number =>
  Math.min(30, 2 ** tries) * (0.75 + random / 2)
