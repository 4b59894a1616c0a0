/** Evidence -> lines that people can read. */

import { say } from '../words'
import { bytes, count, decimal, duration, percent } from './format'
import type { Breakdown, Finding, Part, Quantity } from './message'
import { evidenceName } from './spoken'

export interface Line {
  name: string
  text: string
}

export const lines = (finding: Finding): Line[] =>
  Object.entries(finding.evidence).map(([name, value]) => ({ name: evidenceName(finding, name), text: shown(value) }))

const shown = (value: Quantity | Breakdown): string =>
  'parts' in value ? value.parts.map(part).join(say.comma) || say.finding.none : quantity(value)

/** 192.0.2.1 (3): so many sockets of a peer or a state; else: ListenDrops 2 a second. */
const part = ({ name, ...its }: Part): string =>
  its.unit === 'sockets' ? `${name} (${quantity(its)})` : `${name} ${quantity(its)}`

function quantity({ value, unit }: Quantity): string {
  if (typeof value === 'string') return value
  switch (unit) {
    case 'seconds':
      return duration(value)
    case 'bytes':
      return bytes(value)
    case 'ratio':
      return percent(value)
    case 'port':
      return String(value)
    case 'per_second':
      return say.finding.perSecond(decimal(value))
    case 'per_minute':
      return say.finding.perMinute(decimal(value))
    case 'sockets':
    case 'count':
      return count(value)
    case 'text':
      return String(value)
  }
}
