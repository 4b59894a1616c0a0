/** Evidence -> lines that people can read; whatever a detector adds is shown. */

import { bytes, count, duration, words } from './format'

export interface Line {
  name: string
  text: string
}

/** Told elsewhere on the card. */
const ELSEWHERE = new Set(['owners', 'fd_exhaustion_seconds', 'exhaustion_seconds'])

export const lines = (evidence: Record<string, unknown>): Line[] =>
  Object.entries(evidence)
    .filter(([key, value]) => !ELSEWHERE.has(key) && value !== null && !isEmpty(value))
    .map(([key, value]) => ({ name: words(key), text: told(key, value) }))

const isEmpty = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.keys(value).length === 0

function told(key: string, value: unknown): string {
  if (typeof value === 'number') {
    if (key.includes('_seconds')) return duration(value)
    if (key.includes('_bytes')) return bytes(value)
    if (key.endsWith('port')) return String(value)
    return Number.isInteger(value) ? count(value) : String(value)
  }
  if (Array.isArray(value)) return value.map(item => told('', item)).join('; ')
  if (typeof value === 'object' && value !== null) return record(value as Record<string, unknown>)
  return String(value)
}

/** {"address": "192.0.2.1", "sockets": 3} -> 192.0.2.1 (3) */
function record(value: Record<string, unknown>): string {
  const { address, sockets, ...rest } = value
  const others = Object.entries(rest)
    .filter(([, part]) => part !== 0)
    .map(([key, part]) => `${words(key)} ${told(key, part)}`)
  const head = address === undefined ? [] : [String(address)]
  const tail = sockets === undefined ? '' : ` (${told('sockets', sockets)})`
  return [...head, ...others].join(', ') + tail || 'none'
}
