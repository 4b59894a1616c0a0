/** Levels that have a limit, and how near they are to it. */

import { say } from '../words'
import { bytes, count, duration } from './format'
import type { Listener, Namespace, Severity } from './message'

export interface Gauge {
  name: string
  /** 0 to 1, or more; null: not known, or without a limit here. */
  ratio: number | null
  value: string
  note: string
  /** Of a finding about it. */
  severity: Severity | null
}

const PORTS_USED = 'sockmon_ephemeral_ports_used_by_busiest_destination'
/** Below it no forecast is news: few ports in use will hardly run out. */
const WORTH_A_FORECAST = 0.5

/** Those that have something to say: what this namespace does not have, has no gauge. */
export function gauges(namespace: Namespace): Gauge[] {
  const { limits, ports, degraded } = namespace
  const its = say.limits
  const memory = limits?.tcp_memory_limit_bytes
  const all = [
    degraded ? null : ephemeral(namespace),
    gauge(namespace, its.timeWait, 'sockmon_time_wait_buckets', limits?.time_wait_buckets, limits?.time_wait_buckets_limit),
    acceptQueue(namespace, ports?.listeners ?? null),
    limits !== null && limits.conntrack_entries === null
      ? null
      : gauge(namespace, its.conntrack, 'sockmon_conntrack_entries', limits?.conntrack_entries, limits?.conntrack_entries_limit),
    gauge(namespace, its.orphans, 'sockmon_orphan_sockets', limits?.orphan_sockets, limits?.orphan_sockets_limit),
    gauge(namespace, its.memory, 'sockmon_tcp_memory_bytes', limits?.tcp_memory_bytes, memory?.high, bytes,
      memory ? its.pressure(bytes(memory.pressure)) : ''),
  ]
  return all.filter(each => each !== null)
}

const unread = (name: string): Gauge => ({ name, ratio: null, value: '–', note: say.limits.unreadable, severity: null })

function gauge(
  namespace: Namespace,
  name: string,
  metric: string,
  value: number | null | undefined,
  limit: number | null | undefined,
  format: (n: number) => string = count,
  note = '',
): Gauge | null {
  if (value == null) return unread(name)
  if (!limit) return null
  return {
    name,
    ratio: value / limit,
    value: say.limits.of(format(value), format(limit)),
    note,
    severity: severityOf(namespace, metric),
  }
}

function ephemeral(namespace: Namespace): Gauge | null {
  const { ports, towards, full, steady, fullIn } = say.limits
  const hidden = namespace.limits !== null && namespace.limits.port_range === null
  if (namespace.ports === null || hidden) return unread(ports)
  const { usable, busiest, exhaustion_seconds: left } = namespace.ports.ephemeral
  const [worst] = busiest
  const used = worst?.used ?? 0
  const forecast = used < WORTH_A_FORECAST * usable ? '' : used >= usable ? full : left === null ? steady : fullIn(duration(left))
  const to = worst ? towards(endpoint(worst.destination, worst.port)) : ''
  const note = [forecast, to].filter(Boolean).join(say.comma)
  return gauge(namespace, ports, PORTS_USED, used, usable, count, note)
}

export const endpoint = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`

/** 0 to 1: the kernel has room for one connection more than the limit (model/listeners.py). */
export const fullness = ({ queue, limit }: Pick<Listener, 'queue' | 'limit'>): number => queue / (limit + 1)

function acceptQueue(namespace: Namespace, listeners: Listener[] | null): Gauge | null {
  const { accept, port, dropped, of } = say.limits
  if (listeners === null) return unread(accept)
  const worst = [...listeners].sort((a, b) => fullness(b) - fullness(a))[0]
  if (worst === undefined) return null
  const drops = listeners.reduce((sum, { drops: n }) => sum + n, 0)
  return {
    name: accept,
    ratio: fullness(worst),
    value: of(count(worst.queue), count(worst.limit)),
    note: [port(worst.port), drops > 0 ? dropped(count(drops)) : ''].filter(Boolean).join(say.comma),
    severity: severityOf(namespace, 'sockmon_accept_queue_connections'),
  }
}

function severityOf(namespace: Namespace, metric: string): Severity | null {
  const found = (namespace.findings ?? []).filter(({ metrics }) => metrics.includes(metric))
  if (found.some(({ severity }) => severity === 'critical')) return 'critical'
  return found.length > 0 ? 'warning' : null
}
