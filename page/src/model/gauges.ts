/** Levels that have a limit, and how near they are to it. */

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

const ABSENT = 'could not be read'
const PORTS_USED = 'sockmon_ephemeral_ports_used_by_busiest_destination'

export function gauges(namespace: Namespace): Gauge[] {
  const { limits, ports } = namespace
  const memory = limits?.tcp_memory_limit_bytes
  return [
    ephemeral(namespace),
    gauge(namespace, 'TIME_WAIT table', 'sockmon_time_wait_buckets', limits?.time_wait_buckets, limits?.time_wait_buckets_limit),
    acceptQueue(namespace, ports?.listeners ?? null),
    gauge(namespace, 'Orphans (host-wide)', 'sockmon_orphan_sockets', limits?.orphan_sockets, limits?.orphan_sockets_limit),
    gauge(namespace, 'TCP memory (host-wide)', 'sockmon_tcp_memory_bytes', limits?.tcp_memory_bytes, memory?.high, bytes,
      memory ? `pressure from ${bytes(memory.pressure)}` : ''),
    conntrack(namespace),
  ]
}

function gauge(
  namespace: Namespace,
  name: string,
  metric: string,
  value: number | null | undefined,
  limit: number | null | undefined,
  format: (n: number) => string = count,
  note = '',
): Gauge {
  if (value == null) return { name, ratio: null, value: '–', note: ABSENT, severity: null }
  if (!limit) return { name, ratio: null, value: format(value), note: 'no limit is known', severity: null }
  return {
    name,
    ratio: value / limit,
    value: `${format(value)} of ${format(limit)}`,
    note,
    severity: severityOf(namespace, metric),
  }
}

function ephemeral(namespace: Namespace): Gauge {
  const name = 'Local ports'
  const ports = namespace.ports
  if (ports === null) return { name, ratio: null, value: '–', note: ABSENT, severity: null }
  if (namespace.degraded) {
    return { name, ratio: null, value: '–', note: 'not visible from outside', severity: null }
  }
  if (namespace.limits !== null && namespace.limits.port_range === null) {
    return { name, ratio: null, value: '–', note: 'the range of ports is hidden', severity: null }
  }
  const { usable, busiest, exhaustion_seconds: left } = ports.ephemeral
  const [worst] = busiest
  const to = worst ? `towards ${endpoint(worst.destination, worst.port)}` : 'none in use'
  const forecast = worst === undefined ? '' : left === null ? ', not running out' : `, all in ${duration(left)}`
  return gauge(namespace, name, PORTS_USED, worst?.used ?? 0, usable, count, to + forecast)
}

export const endpoint = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`

/** 0 to 1: the kernel has room for one connection more than the limit (model/listeners.py). */
const fullness = ({ queue, limit }: Listener): number => queue / (limit + 1)

function acceptQueue(
  namespace: Namespace,
  listeners: Listener[] | null,
): Gauge {
  const name = 'Fullest accept queue'
  if (listeners === null) return { name, ratio: null, value: '–', note: ABSENT, severity: null }
  const worst = [...listeners].sort((a, b) => fullness(b) - fullness(a))[0]
  if (worst === undefined) {
    return { name, ratio: null, value: '–', note: 'no port is listened on', severity: null }
  }
  const drops = listeners.reduce((sum, { drops: n }) => sum + n, 0)
  const dropped = drops > 0 ? `, ${count(drops)} dropped in all` : ''
  return {
    name,
    ratio: fullness(worst),
    value: `${count(worst.queue)} of ${count(worst.limit)}`,
    note: `port ${worst.port}${dropped}`,
    severity: severityOf(namespace, 'sockmon_accept_queue_connections'),
  }
}

function conntrack(namespace: Namespace): Gauge {
  const { limits } = namespace
  const name = 'Connection tracking'
  if (limits !== null && limits.conntrack_entries === null) {
    return { name, ratio: null, value: '–', note: 'not in use here', severity: null }
  }
  return gauge(namespace, name, 'sockmon_conntrack_entries', limits?.conntrack_entries, limits?.conntrack_entries_limit)
}

function severityOf(namespace: Namespace, metric: string): Severity | null {
  const found = (namespace.findings ?? []).filter(({ metrics }) => metrics.includes(metric))
  if (found.some(({ severity }) => severity === 'critical')) return 'critical'
  return found.length > 0 ? 'warning' : null
}
