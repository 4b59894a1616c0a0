/** What the daemon might say, with what a test is about put in. */

import type {
  Finding,
  Group,
  History,
  Namespace,
  Observation,
  Direction,
  StateCounts,
  Summary,
} from '../src/model/message'

export const finding = (about: Partial<Finding> = {}): Finding => ({
  detector: 'close_wait_leak',
  severity: 'warning',
  netns: 'host',
  subject: { direction: 'inbound', port: 80, owner: null },
  value: 12,
  limit: 10,
  summary: '',
  evidence: {},
  advice: [],
  alert_labels: {},
  ...about,
})

export const group = (direction: Direction, port: Group['port'], states: StateCounts): Group => ({
  direction,
  port,
  states,
  receive_queue_bytes: 0,
  send_queue_bytes: 0,
})

export const namespace = (about: Partial<Namespace> = {}): Namespace => ({
  netns: 'host',
  degraded: false,
  looked_at: 1,
  beat_seconds: 5,
  tcp: { taken_at: 1, ipv4: { established: 3 } },
  ports: {
    taken_at: 1,
    groups: [],
    folded: 0,
    listeners: [],
    ephemeral: { usable: 100, reserved: 0, bound: 0, exhaustion_seconds: null, busiest: [] },
  },
  limits: {
    taken_at: 1,
    time_wait_buckets: 5,
    time_wait_buckets_limit: 10,
    orphan_sockets: 0,
    orphan_sockets_limit: 10,
    tcp_memory_bytes: 1,
    tcp_memory_limit_bytes: { low: 1, pressure: 2, high: 4 },
    conntrack_entries: 1,
    conntrack_entries_limit: 2,
  },
  diagnosed_at: 1,
  findings: [],
  blind: [],
  hidden_processes: 0,
  ages: {},
  close_wait_oldest_seconds: 0,
  close_wait_stale: [],
  settings: null,
  ...about,
})

export const summary = (about: Partial<Summary> = {}): Summary => ({
  netns: 'web',
  degraded: false,
  beat_seconds: 5,
  counted_at: 1,
  sockets: 3,
  established: 3,
  close_wait: 0,
  time_wait: 0,
  diagnosed_at: 1,
  warnings: 0,
  critical: 0,
  worst: null,
  unseen: 0,
  ...about,
})

export const observation = (about: Partial<Observation> = {}): Observation => ({
  taken_at: 1,
  interval_seconds: 5,
  polls: 1,
  hints: [],
  neighbours: null,
  failures: [],
  namespaces: [summary({ netns: 'host' })],
  left_out: 0,
  host: 'web-1',
  version: '1',
  age_bounds_seconds: [60],
  alerts: [],
  alerts_elsewhere: 0,
  detectors: {},
  namespace: null,
  ...about,
})

export const history = (about: Partial<History>): History => ({
  netns: 'host',
  range: 'hour',
  step_seconds: 1,
  taken_at: 1,
  times: [],
  max: {},
  alert_changes: [],
  ...about,
})
