/** What the page says first: is this host healthy, and if not, whose service does what, until when? */

import { say } from '../words'
import { alertOf, blamed, byCause, severityOf, type Cause } from './findings'
import { count, duration } from './format'
import type { Alert, Deadline, Failure, Finding, Namespace, Observation, State } from './message'
import { short } from './names'
import { totals } from './states'

export type Level = 'ok' | 'warning' | 'critical' | 'unknown'

export interface Verdict {
  level: Level
  headline: string
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

/** Whether a failure leaves something unread; a component that fails, such as saving, does not. */
const isUnread = ({ reason }: Failure): boolean => reason !== 'component'

/** What else of the daemon fails, as sentences. */
export const troubles = ({ failures }: Observation): string[] =>
  failures.filter(failure => !isUnread(failure)).map(({ message }) => message)

/** What could not be read or judged in the last poll, as sentences. */
export function unseen(namespace: Namespace, observation: Observation): string[] {
  const failures = observation.failures.filter(isUnread).map(({ message }) => message)
  const unavailable = namespace.unavailable ?? []
  if (unavailable.length === 0) return failures
  return [...failures, say.verdict.notJudged(unavailable.map(name => name.replaceAll('_', ' ')).join(say.comma))]
}

export const sockets = (n: number): string => say.sockets(count(n), n === 1)

export function verdict(namespace: Namespace, observation: Observation): Verdict {
  const counts = totals(namespace)
  const { findings } = namespace
  if (counts === null || findings === null) return unknown(namespace, observation)
  const its = say.verdict
  const among = sockets(sum(counts))
  if (findings.length > 0) {
    const causes = byCause(findings)
    const critical = causes.filter(each => severityOf(each) === 'critical').length
    return {
      level: critical > 0 ? 'critical' : 'warning',
      headline: headline(causes),
      detail: `${its.counts(critical, causes.length - critical)} · ${among}`,
    }
  }
  const isPartial = unseen(namespace, observation).length > 0
  const alerts = held(namespace, observation).length
  return {
    level: isPartial ? 'unknown' : 'ok',
    headline: isPartial ? its.partial : its.healthy,
    detail: `${alerts > 0 ? its.again(alerts) + say.space : ''}${among}${say.colon}${its.noTrouble}${isPartial ? its.asFar : ''}${say.stop}`,
  }
}

/** At most so many services are named. */
const NAMED = 2

/** Services, what they do wrong, and what fails when; one cause after the other, its symptoms left out. */
export function headline(causes: Cause[]): string {
  const found = causes.map(({ finding }) => finding)
  const [first, second] = found
  if (first === undefined) return ''
  const names = [...new Set(found.map(blamed).filter(name => name !== null).map(short))]
  const { does } = first.actor
  const isOneKind = does !== null && found.every(each => each.detector === first.detector && blamed(each) !== null)
  const what = isOneKind
    ? say.verdict.clause(
        say.verdict.names(names.slice(0, NAMED), Math.max(0, names.length - NAMED)),
        names.length > 1 ? does.many : does.one,
      )
    : [
        clause(first),
        second === undefined ? '' : found.length === 2 ? clause(second) : say.verdict.others(found.length - 1),
      ].filter(Boolean).join(say.semicolon)
  const soonest = [...found].filter(({ deadline }) => deadline !== null)
    .sort((a, b) => a.deadline!.seconds - b.deadline!.seconds)[0]
  if (soonest === undefined) return what
  const whose = blamed(soonest)
  const named = names.length > 1 && whose !== null ? `${short(whose)}${say.colon}` : ''
  return `${what}${say.semicolon}${named}${until(soonest.deadline!)}`
}

/** What one finding says of whom; where no service is to blame, its title and place. */
function clause(finding: Finding): string {
  const who = blamed(finding)
  const { does } = finding.actor
  if (who !== null && does !== null) return say.verdict.clause(short(who), does.one)
  const { port, direction, path } = finding.subject
  const place = port !== null ? say.finding.port(port, direction === 'inbound') : path
  return finding.title + (place === null ? '' : say.bracketed(place))
}

export const until = ({ what, seconds }: Deadline): string =>
  seconds > 0 ? say.verdict.deadline(what, duration(seconds)) : say.verdict.overdue(what)

function unknown(namespace: Namespace, observation: Observation): Verdict {
  const { diagnosed_at: at, degraded } = namespace
  const counts = totals(namespace)
  const its = say.verdict
  const told = (headline: string, detail: string): Verdict => ({ level: 'unknown', headline, detail })
  if (counts !== null && degraded) return told(its.outside, its.outsideWhy(sockets(sum(counts))))
  if (counts !== null) return told(its.unjudged, its.unjudgedWhy(sockets(sum(counts))))
  const since = at === null ? its.none : its.noneFor(duration(observation.taken_at - at))
  return told(observation.namespaces.length > 1 ? its.unreadNamespace : its.unreadHost, its.unreadWhy(since))
}

const sum = (counts: Partial<Record<State, number>>): number =>
  Object.values(counts).reduce((all, n) => all + n, 0)
