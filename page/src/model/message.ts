/** What the daemon says: sockmon/export/page.py and sockmon/export/history.py. Times: Unix seconds. */

export const STATES = [
  'established',
  'syn_sent',
  'syn_recv',
  'fin_wait1',
  'fin_wait2',
  'time_wait',
  'close',
  'close_wait',
  'last_ack',
  'listen',
  'closing',
] as const

export type State = (typeof STATES)[number]
export type StateCounts = Partial<Record<State, number>>
export type Severity = 'warning' | 'critical'
export type Direction = 'inbound' | 'outbound'

export interface Process {
  name: string
  pid: number | null
  unit: string | null
  fds: number | null
  fd_limit: number | null
}

export interface Finding {
  detector: string
  severity: Severity
  netns: string
  subject: { direction: Direction | null; port: number | null; owner: Process | null }
  value: number
  limit: number
  summary: string
  evidence: Record<string, unknown>
  advice: string[]
  /** Of the alert that it becomes, but for severity. */
  alert_labels: Record<string, string>
}

export interface Group {
  direction: Direction
  port: number | 'other'
  states: StateCounts
  receive_queue_bytes: number
  send_queue_bytes: number
}

export interface Ports {
  taken_at: number
  groups: Group[]
  folded: number
  listeners: { port: number; queue: number; limit: number; drops: number }[]
  ephemeral: {
    usable: number
    reserved: number
    bound: number
    exhaustion_seconds: number | null
    busiest: {
      source: string
      destination: string
      port: number
      used: number
      states: StateCounts
    }[]
  }
}

export interface Limits {
  taken_at: number
  time_wait_buckets: number | null
  time_wait_buckets_limit: number | null
  orphan_sockets: number | null
  orphan_sockets_limit: number | null
  tcp_memory_bytes: number | null
  tcp_memory_limit_bytes: { low: number; pressure: number; high: number } | null
  conntrack_entries: number | null
  conntrack_entries_limit: number | null
}

export interface Settings {
  fin_timeout: number
  syn_retries: number
  synack_retries: number
}

/** One namespace in a line. */
export interface Summary {
  netns: string
  degraded: boolean
  beat_seconds: number
  counted_at: number | null
  sockets: number | null
  established: number | null
  close_wait: number | null
  time_wait: number | null
  diagnosed_at: number | null
  warnings: number
  critical: number
  worst: { detector: string; owner: string | null } | null
  unseen: number
}

export interface Namespace {
  netns: string
  degraded: boolean
  looked_at: number
  beat_seconds: number
  tcp: ({ taken_at: number } & Record<string, StateCounts | number>) | null
  ports: Ports | null
  limits: Limits | null
  diagnosed_at: number | null
  findings: Finding[] | null
  blind: string[] | null
  hidden_processes: number | null
  ages: Partial<Record<State, number[]>> | null
  close_wait_oldest_seconds: number | null
  close_wait_stale: { direction: Direction; port: number; owner: string; sockets: number }[] | null
  settings: Settings | null
}

export interface Alert {
  state: 'pending' | 'firing' | 'resolved'
  since: number
  firing_since: number | null
  resolved_at: number | null
  labels: Record<string, string>
  annotations: Record<string, string>
}

/** Network namespaces besides the daemon's own, by what is seen of them. */
export interface Neighbours {
  inside: number
  outside: number
  empty: number
  hidden: number
}

/** failures, alerts: of `namespace`, the one that is looked at; null: it is not there. */
export interface Observation {
  taken_at: number
  interval_seconds: number
  polls: number
  hints: string[]
  neighbours: Neighbours | null
  host: string
  version: string
  age_bounds_seconds: number[]
  detectors: Record<string, { alert: string; runbook_url: string }>
  namespaces: Summary[]
  left_out: number
  failures: { netns: string; reason: string; message: string }[]
  alerts: Alert[]
  alerts_elsewhere: number
  namespace: Namespace | null
}

/** How old the last poll is (null: there is none yet), and how often polls are. */
export interface Beat {
  age_seconds: number | null
  interval_seconds: number
}

export type Range = 'hour' | 'day'

export interface AlertChange {
  at: number
  state: 'firing' | 'resolved'
  firing_since: number
  labels: Record<string, string>
  summary: string
  /** It was firing with this severity until then. */
  previous_severity: string | null
}

export interface History {
  netns: string
  range: Range
  /** What a row stands for; null: there is no history of it. */
  step_seconds: number | null
  taken_at: number
  times: number[]
  max: Record<string, (number | null)[]>
  alert_changes: AlertChange[]
}
