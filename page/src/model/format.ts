/** Numbers, times and bytes as people read them; in English, whatever the browser's language is. */

const WHOLE = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })
const SHORT = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 })

const DECIMAL = new Intl.NumberFormat('en-US', { maximumFractionDigits: 2 })

export const count = (n: number): string => WHOLE.format(n)

/** A rate: at most two decimals. */
export const decimal = (n: number): string => DECIMAL.format(n)

/** 12,345 -> 12.3K, for where there is little room. */
export const shortCount = (n: number): string => (n < 10_000 ? count(n) : SHORT.format(n))

export const plural = (n: number, one: string, many = `${one}s`): string =>
  `${count(n)} ${n === 1 ? one : many}`

/** Two units at the most: 45s, 1m 3s, 2h 5m, 3d 4h. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  if (seconds > 0 && seconds < 1) return '<1s'
  const units: [string, number][] = [['d', 86_400], ['h', 3_600], ['m', 60], ['s', 1]]
  const first = units.findIndex(([, size]) => whole >= size)
  if (first < 0) return '0s'
  const parts: string[] = []
  let left = whole
  for (const [unit, size] of units.slice(first, first + 2)) {
    const n = Math.floor(left / size)
    left -= n * size
    if (n > 0) parts.push(`${n}${unit}`)
  }
  return parts.join(' ')
}

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

const CLOCK = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' })
const DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' })

/** 14:03:07, and the day if it was not today. */
export function clock(at: number, now: number): string {
  const [then, today] = [new Date(at * 1000), new Date(now * 1000)]
  const time = CLOCK.format(then)
  return then.toDateString() === today.toDateString() ? time : `${DAY.format(then)} ${time}`
}
