/** What the page says first: is this host well, and if not, who must act? */

import { count, duration, plural } from './format'
import type { Alert, Finding, Namespace, Observation, State } from './message'
import { totals } from './states'

export type Level = 'ok' | 'warning' | 'critical' | 'unknown'

export interface Verdict {
  level: Level
  headline: string
  /** The name of the one to blame, if that is somebody here who is known. */
  blame: string | null
  detail: string
}

interface Telling {
  title: string
  /** Who must act, where no owner is known or the owner is not to blame. */
  actor: string
  ownerActs: boolean
  /** Where its sockets are, if they are in one state. */
  state?: State
}

/** Detectors by name; what is not here is told by its name alone. */
const TELLING: Record<string, Telling> = {
  close_wait_leak: {
    title: 'An application does not close its connections',
    actor: 'The application here',
    ownerActs: true,
    state: 'close_wait',
  },
  time_wait_pressure: {
    title: 'TIME-WAIT is near its limit',
    actor: 'This host: its clients or its settings',
    ownerActs: false,
    state: 'time_wait',
  },
  ephemeral_port_pressure: {
    title: 'Local ports run out towards one destination',
    actor: 'The application here that connects',
    ownerActs: true,
  },
  fin_wait2_stuck: {
    title: 'Peers never close their side',
    actor: 'The peers',
    ownerActs: false,
    state: 'fin_wait2',
  },
  connect_stalled: {
    title: 'Nobody answers',
    actor: 'The destination, or the network to it',
    ownerActs: false,
    state: 'syn_sent',
  },
  syn_backlog: {
    title: 'Half-open connections pile up',
    actor: 'The clients, or whoever floods',
    ownerActs: false,
    state: 'syn_recv',
  },
  accept_queue: {
    title: 'A server accepts too slowly',
    actor: 'The server here',
    ownerActs: true,
    state: 'listen',
  },
  closing_stalled: {
    title: 'Connections cannot finish closing',
    actor: 'The peers, or the network to them',
    ownerActs: false,
  },
  dead_peer: {
    title: 'Peers have vanished',
    actor: 'The peers, or the network to them',
    ownerActs: false,
    state: 'established',
  },
  orphan_pressure: {
    title: 'Sockets without a process pile up',
    actor: 'The peers, or the network to them',
    ownerActs: false,
  },
  tcp_memory_pressure: {
    title: 'Memory for TCP runs short',
    actor: 'Those whose queues are full',
    ownerActs: false,
  },
  conntrack_pressure: {
    title: 'Connection tracking is nearly full',
    actor: 'This host’s settings',
    ownerActs: false,
  },
}

const told = (detector: string): Telling =>
  TELLING[detector] ?? { title: detector.replaceAll('_', ' '), actor: 'See the advice', ownerActs: true }

export const title = ({ detector }: { detector: string }): string => told(detector).title

/** Whether the owner of the sockets is the one who must act. */
export const ownerActs = (detector: string): boolean => told(detector).ownerActs

/** The state to look at first: that of the worst trouble. */
export const worstState = (namespace: Namespace): State =>
  (namespace.findings ?? []).map(({ detector }) => told(detector).state).find(state => state !== undefined) ?? 'established'

/** Who must act, in a few words; `besides` is what else is known of them. */
export function actor(finding: Finding): { who: string; besides: string } {
  const { owner } = finding.subject
  if (owner === null || !ownerActs(finding.detector)) {
    return { who: told(finding.detector).actor, besides: '' }
  }
  const pid = owner.pid === null ? '' : ` (pid ${owner.pid})`
  const unit = owner.unit !== null && owner.unit !== owner.name ? `, ${owner.unit}` : ''
  return { who: owner.name, besides: pid + unit }
}

const blamed = (finding: Finding): string | null =>
  ownerActs(finding.detector) ? (finding.subject.owner?.name ?? null) : null

/** How long until it hurts; null where nothing says so. */
export function countdown(finding: Finding): { seconds: number; what: string } | null {
  const { fd_exhaustion_seconds: descriptors, exhaustion_seconds: ports } = finding.evidence
  if (typeof descriptors === 'number') return { seconds: descriptors, what: 'no descriptor is left' }
  if (typeof ports === 'number') return { seconds: ports, what: 'no local port is left' }
  return null
}

const IDENTITY = ['alertname', 'netns', 'direction', 'port', 'owner']

/** The alert that a finding has become, if it has; it may fire with another severity for a while. */
export function alertOf(finding: Finding, observation: Observation): Alert | null {
  const its = observation.alerts.filter(
    ({ labels, state }) =>
      state !== 'resolved' && IDENTITY.every(name => labels[name] === finding.alert_labels[name]),
  )
  const firing = its.filter(({ state }) => state === 'firing')
  const [first] = firing.length > 0 ? firing : its
  return firing.find(({ labels }) => labels['severity'] === 'critical') ?? first ?? null
}

/** Alerts that fire on for a while, though what they tell of is no longer found. */
export function held(namespace: Namespace, observation: Observation): Alert[] {
  const { findings } = namespace
  if (findings === null) return []
  const current = findings.map(finding => alertOf(finding, observation))
  return observation.alerts.filter(
    alert => alert.state === 'firing' && !current.includes(alert),
  )
}

/** What could not be read or looked at in the last poll, as sentences. */
export function unseen(namespace: Namespace, observation: Observation): string[] {
  const failures = observation.failures.map(({ message }) => message)
  const blind = namespace.blind ?? []
  if (blind.length === 0) return failures
  return [...failures, `Could not be judged: ${blind.map(name => name.replaceAll('_', ' ')).join(', ')}.`]
}

export function verdict(namespace: Namespace, observation: Observation): Verdict {
  const counts = totals(namespace)
  const { findings } = namespace
  if (counts === null || findings === null) return unknown(namespace, observation)
  const sockets = plural(sum(counts), 'TCP socket')
  const [worst] = findings
  if (worst !== undefined) {
    const critical = findings.filter(({ severity }) => severity === 'critical').length
    return {
      level: critical > 0 ? 'critical' : 'warning',
      headline:
        findings.length === 1 ? title(worst) : `${count(findings.length)} things are wrong`,
      blame: blamed(worst),
      detail: `${critical > 0 ? plural(critical, 'critical finding') : plural(findings.length, 'warning')} among ${sockets}.`,
    }
  }
  const blind = unseen(namespace, observation).length > 0
  const alerts = held(namespace, observation).length
  const again = alerts > 0 ? `Well again; ${plural(alerts, 'alert')} ${alerts === 1 ? 'is' : 'are'} held for a while. ` : ''
  return {
    level: blind ? 'unknown' : 'ok',
    headline: blind ? 'Nothing wrong was found, but not all could be seen' : 'The sockets are well',
    blame: null,
    detail: `${again}${sockets}: none leaks, no queue stands still, no limit is near${blind ? ', as far as can be seen' : ''}.`,
  }
}

function unknown(namespace: Namespace, observation: Observation): Verdict {
  const { diagnosed_at: at, degraded } = namespace
  const counts = totals(namespace)
  if (counts !== null && degraded) {
    return {
      level: 'unknown',
      headline: 'Seen from outside: counted, not diagnosed',
      blame: null,
      detail: `${plural(sum(counts), 'TCP socket')}. sockmon may not enter this namespace: how old its sockets are, and whose, is not known.`,
    }
  }
  const since =
    at === null
      ? 'Not one poll has succeeded yet'
      : `No poll has succeeded for ${duration(observation.taken_at - at)}`
  return {
    level: 'unknown',
    headline:
      counts === null
        ? `This ${observation.namespaces.length > 1 ? 'namespace' : 'host'}’s sockets cannot be seen`
        : 'Sockets are counted, but could not be judged',
    blame: null,
    detail:
      counts === null
        ? `${since}. Nothing is known, good or bad.`
        : `${plural(sum(counts), 'TCP socket')}. Whether they are well is not known.`,
  }
}

const sum = (counts: Record<string, number>): number =>
  Object.values(counts).reduce((all, n) => all + n, 0)
