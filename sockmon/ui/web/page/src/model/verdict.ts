/** What the page says first: is this host well, and if not, who must act? */

import { count, duration, plural } from './format'
import type { Alert, Finding, Namespace, Observation } from './message'
import { totals } from './states'

export type Level = 'ok' | 'warning' | 'critical' | 'unknown'

export interface Verdict {
  level: Level
  headline: string
  detail: string
}

interface Telling {
  title: string
  /** Who must act, where no owner is known or the owner is not to blame. */
  actor: string
  ownerActs: boolean
}

/** Detectors by name; what is not here is told by its name alone. */
const TELLING: Record<string, Telling> = {
  close_wait_leak: {
    title: 'An application does not close its connections',
    actor: 'The application here',
    ownerActs: true,
  },
  time_wait_pressure: {
    title: 'TIME-WAIT is near its limit',
    actor: 'This host: its clients or its settings',
    ownerActs: false,
  },
  ephemeral_port_pressure: {
    title: 'Local ports run out towards one destination',
    actor: 'The application here that connects',
    ownerActs: true,
  },
  fin_wait2_stuck: { title: 'Peers never close their side', actor: 'The peers', ownerActs: false },
  connect_stalled: {
    title: 'Nobody answers',
    actor: 'The destination, or the network to it',
    ownerActs: false,
  },
  syn_backlog: {
    title: 'Half-open connections pile up',
    actor: 'The clients, or whoever floods',
    ownerActs: false,
  },
  accept_queue: {
    title: 'A server accepts too slowly',
    actor: 'The server here',
    ownerActs: true,
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

export const title = (finding: Finding): string => told(finding.detector).title

/** Who must act, in a few words. */
export function actor(finding: Finding): string {
  const { owner } = finding.subject
  const { actor: otherwise, ownerActs } = told(finding.detector)
  if (owner === null || !ownerActs) return otherwise
  const pid = owner.pid === null ? '' : ` (pid ${owner.pid})`
  const unit = owner.unit !== null && owner.unit !== owner.name ? `, ${owner.unit}` : ''
  return `${owner.name}${pid}${unit}`
}

/** A word to the one to blame, if that is somebody here who is known. */
const blame = (finding: Finding): string =>
  finding.subject.owner !== null && told(finding.detector).ownerActs
    ? `${finding.subject.owner.name} must act. `
    : ''

/** How long until it hurts; null where nothing says so. */
export function countdown(finding: Finding): { seconds: number; what: string } | null {
  const { fd_exhaustion_seconds: descriptors, exhaustion_seconds: ports } = finding.evidence
  if (typeof descriptors === 'number') return { seconds: descriptors, what: 'no descriptor is left' }
  if (typeof ports === 'number') return { seconds: ports, what: 'no local port is left' }
  return null
}

/** The alert that a finding has become, if it has. */
export function alertOf(finding: Finding, observation: Observation): Alert | null {
  const name = observation.detectors[finding.detector]?.alert
  const { role, port, owner } = finding.subject
  const found = observation.alerts.filter(
    ({ labels, state }) =>
      state !== 'resolved' &&
      labels['alertname'] === name &&
      labels['netns'] === finding.netns &&
      labels['severity'] === finding.severity &&
      labels['role'] === (role ?? undefined) &&
      labels['port'] === (port === null ? undefined : String(port)),
  )
  // Services of two owners may connect to one port: each has an alert of its own.
  const its = found.find(({ labels }) => [owner?.unit, owner?.name].includes(labels['owner']))
  return its ?? found[0] ?? null
}

/** What could not be read or looked at in the last poll, as sentences. */
export function unseen(namespace: Namespace, observation: Observation): string[] {
  const failures = observation.failures
    .filter(failure => failure.netns === namespace.netns)
    .map(failure => failure.message)
  const blind = namespace.blind ?? []
  if (blind.length === 0) return failures
  return [...failures, `Could not be judged: ${blind.map(name => name.replaceAll('_', ' ')).join(', ')}.`]
}

export function verdict(namespace: Namespace, observation: Observation): Verdict {
  const counts = totals(namespace)
  if (counts === null || namespace.findings === null) {
    const { diagnosed_at: at } = namespace
    const since =
      at === null
        ? 'Not one poll has succeeded yet'
        : `No poll has succeeded for ${duration(observation.taken_at - at)}`
    return {
      level: 'unknown',
      headline: 'This host’s sockets cannot be seen',
      detail: `${since}. Nothing is known, good or bad.`,
    }
  }
  const { findings } = namespace
  const sockets = Object.values(counts).reduce((sum, n) => sum + n, 0)
  const critical = findings.filter(({ severity }) => severity === 'critical').length
  if (findings.length > 0) {
    const [worst] = findings as [Finding]
    return {
      level: critical > 0 ? 'critical' : 'warning',
      headline:
        findings.length === 1 ? title(worst) : `${count(findings.length)} things are wrong`,
      detail: `${blame(worst)}${critical > 0 ? plural(critical, 'critical finding') : plural(findings.length, 'warning')} among ${plural(sockets, 'TCP socket')}.`,
    }
  }
  const blind = unseen(namespace, observation).length > 0
  return {
    level: blind ? 'unknown' : 'ok',
    headline: blind ? 'Nothing wrong was found, but not all could be seen' : 'The sockets are well',
    detail: `${plural(sockets, 'TCP socket')}: none leaks, no queue stands still, no limit is near${blind ? ', as far as can be seen' : ''}.`,
  }
}
