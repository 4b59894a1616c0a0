/** Numbers, durations and bytes as people read them, in the page's language. */

import { say } from '../words'

const WHOLE = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })
const SHORT = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 })

export const count = (n: number): string => WHOLE.format(n)

/** A rate, as exact as anybody can use: 0.25, 2.5, 37, 1,234. */
export const decimal = (n: number): string => (Math.abs(n) < 9.95 ? String(Number(n.toPrecision(2))) : count(n))

/** 12,345 -> 12.3K, for where there is little room. */
export const shortCount = (n: number): string => (n < 10_000 ? count(n) : SHORT.format(n))

/** Two units at the most: 45s, 1m 3s, 2h 5m, 3d 4h; one, if that is exact enough. */
export function duration(seconds: number, most = 2): string {
  const { gap, less, ...names } = say.units
  const whole = Math.max(0, Math.round(seconds))
  if (seconds > 0 && seconds < 1) return less
  const units: [string, number][] = [[names.d, 86_400], [names.h, 3_600], [names.m, 60], [names.s, 1]]
  const first = units.findIndex(([, size]) => whole >= size)
  if (first < 0) return `0${names.s}`
  const parts: string[] = []
  let left = whole
  for (const [unit, size] of units.slice(first, first + most)) {
    const n = Math.floor(left / size)
    left -= n * size
    if (n > 0) parts.push(`${n}${unit}`)
  }
  return parts.join(gap)
}

/** A duration that may be short: 40 ms, 5s, 1m. */
export const latency = (seconds: number): string =>
  seconds > 0 && seconds < 1 ? `${count(seconds * 1000)} ${say.units.ms}` : duration(seconds, 1)

export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let at = 0
  let value = n
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024
    at += 1
  }
  return `${value < 10 && at > 0 ? value.toFixed(1) : WHOLE.format(value)} ${units[at]}`
}

/** Never 0 % of something, nor 100 % of what is not yet full. */
export function percent(ratio: number): string {
  const hundredths = ratio * 100
  if (hundredths > 0 && hundredths < 1) return '<1%'
  return `${WHOLE.format(ratio < 1 ? Math.min(99, hundredths) : hundredths)}%`
}
