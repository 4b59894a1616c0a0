/** What the page says first: is this host healthy, and if not, who must act? */

import { alertOf, blamed, byCause } from './findings'
import { count, duration, plural } from './format'
import type { Alert, Namespace, Observation, State } from './message'
import { totals } from './states'

export type Level = 'ok' | 'warning' | 'critical' | 'unknown'

export interface Verdict {
  level: Level
  headline: string
  /** The name of the owner that must act, if it is one and is known. */
  blame: string | null
  detail: string
}

/** The state to show first: that of the worst finding that is about one. */
export const worstState = (namespace: Namespace): State =>
  (namespace.findings ?? []).map(({ state }) => state).find(state => state !== null) ?? 'established'

/** Alerts that still fire for a while, although their condition is no longer found. */
export function held(namespace: Namespace, observation: Observation): Alert[] {
  const { findings } = namespace
  if (findings === null) return []
  const current = findings.map(finding => alertOf(finding, observation))
  return observation.alerts.filter(
    alert => alert.state === 'firing' && !current.includes(alert),
  )
}

/** What could not be read or judged in the last poll, as sentences. */
export function unseen(namespace: Namespace, observation: Observation): string[] {
  const failures = observation.failures.map(({ message }) => message)
  const unavailable = namespace.unavailable ?? []
  if (unavailable.length === 0) return failures
  return [...failures, `Not judged: ${unavailable.map(name => name.replaceAll('_', ' ')).join(', ')}.`]
}

export function verdict(namespace: Namespace, observation: Observation): Verdict {
  const counts = totals(namespace)
  const { findings } = namespace
  if (counts === null || findings === null) return unknown(namespace, observation)
  const sockets = plural(sum(counts), 'TCP socket')
  const causes = byCause(findings)
  const [worst] = causes
  if (worst !== undefined) {
    const critical = findings.filter(({ severity }) => severity === 'critical').length
    return {
      level: critical > 0 ? 'critical' : 'warning',
      headline: causes.length === 1 ? worst.finding.title : `${count(causes.length)} things are wrong`,
      blame: blamed(worst.finding),
      detail: `${severities(critical, findings.length - critical)} among ${sockets}.`,
    }
  }
  const isPartial = unseen(namespace, observation).length > 0
  const alerts = held(namespace, observation).length
  const again = alerts > 0 ? `Healthy again; ${plural(alerts, 'alert')} still ${alerts === 1 ? 'fires' : 'fire'} for a while. ` : ''
  return {
    level: isPartial ? 'unknown' : 'ok',
    headline: isPartial ? 'Nothing wrong was found, but not everything could be read' : 'The sockets are healthy',
    blame: null,
    detail: `${again}${sockets}: ${HEALTHY}${isPartial ? ', as far as could be read' : ''}.`,
  }
}

export const HEALTHY = 'no leak, no full queue, no limit near'

/** 1 critical finding and 2 warnings. */
export function severities(critical: number, warnings: number): string {
  const parts = [
    critical > 0 ? plural(critical, 'critical finding') : '',
    warnings > 0 ? plural(warnings, 'warning') : '',
  ]
  return parts.filter(Boolean).join(' and ')
}

function unknown(namespace: Namespace, observation: Observation): Verdict {
  const { diagnosed_at: at, degraded } = namespace
  const counts = totals(namespace)
  if (counts !== null && degraded) {
    return {
      level: 'unknown',
      headline: 'Seen from outside: counted, not diagnosed',
      blame: null,
      detail: `${plural(sum(counts), 'TCP socket')}. sockmon may not enter this namespace: the ages and owners of its sockets are not known.`,
    }
  }
  const since =
    at === null
      ? 'No poll has succeeded yet'
      : `No poll has succeeded for ${duration(observation.taken_at - at)}`
  return {
    level: 'unknown',
    headline:
      counts === null
        ? `The sockets of this ${observation.namespaces.length > 1 ? 'namespace' : 'host'} could not be read`
        : 'Sockets are counted, but could not be judged',
    blame: null,
    detail:
      counts === null
        ? `${since}: nothing is known about them.`
        : `${plural(sum(counts), 'TCP socket')}. Whether they are healthy is not known.`,
  }
}

const sum = (counts: Partial<Record<State, number>>): number =>
  Object.values(counts).reduce((all, n) => all + n, 0)
