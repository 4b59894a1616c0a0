/** Times of day in the host's time zone, or in the reader's. */

export interface Zone {
  name: string
  /** Seconds east of UTC. */
  offset: number
}

const two = (n: number): string => String(n).padStart(2, '0')

/** Its UTC fields are those of the zone's clock. */
const inZone = (at: number, { offset }: Zone): Date => new Date((at + offset) * 1000)

export const dayOf = (at: number, zone: Zone): string => inZone(at, zone).toISOString().slice(5, 10)

/** 14:03 */
export function minuteOf(at: number, zone: Zone): string {
  const date = inZone(at, zone)
  return `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`
}

/** 14:03:07, and the day before it if that is another than that of `now`: 11-30 14:03:07. */
export function clock(at: number, now: number, zone: Zone): string {
  const time = `${minuteOf(at, zone)}:${two(inZone(at, zone).getUTCSeconds())}`
  const day = dayOf(at, zone)
  return day === dayOf(now, zone) ? time : `${day} ${time}`
}

/** 2026-12-01T14:03:07+08:00, for machines and as a title. */
export function iso(at: number, zone: Zone): string {
  const { offset } = zone
  const minutes = Math.floor(Math.abs(offset) / 60)
  const east = offset === 0 ? 'Z' : `${offset < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`
  return inZone(at, zone).toISOString().slice(0, 19) + east
}

/** The zone of whoever reads, as it is at a time. */
export const readers = (at: number): Zone => ({
  name: Intl.DateTimeFormat().resolvedOptions().timeZone,
  offset: -60 * new Date(at * 1000).getTimezoneOffset(),
})
