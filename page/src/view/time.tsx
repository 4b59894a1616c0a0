import { createContext } from 'preact'
import { useContext } from 'preact/hooks'
import { clock, iso, type Zone } from '../model/time'

/** The zone in which times are shown. */
export const InZone = createContext<Zone>({ name: 'UTC', offset: 0 })

/** A time of day, with its day if that is another than that of `now`. */
export function Time({ at, now }: { at: number; now: number }) {
  const zone = useContext(InZone)
  const whole = iso(at, zone)
  return <time datetime={whole} title={`${whole} ${zone.name}`}>{clock(at, now, zone)}</time>
}
