/** A finding: who must act, until when, its alert, and the findings that it causes. */

import { say } from '../words'
import type { Alert, Finding, FindingKey, Observation, Process, Quantity, Severity } from './message'

export interface Actor {
  who: string
  /** What else is known of them. */
  besides: string
}

/** What the daemon calls an owner that it does not know. */
const UNKNOWN = 'unknown'

/** The unit, or else the process: what is restarted, and what other tools call it. */
export const nameOf = (owner: Process): string => owner.unit ?? owner.name

/** The owner of the sockets, if it must act and is known. */
const responsible = ({ actor, subject: { owner } }: Finding): Process | null =>
  actor.is_owner && owner?.name !== UNKNOWN ? owner : null

export const blamed = (finding: Finding): string | null => {
  const owner = responsible(finding)
  return owner === null ? null : nameOf(owner)
}

/** Who must act, in a few words. */
export function actorOf(finding: Finding): Actor {
  const owner = responsible(finding)
  if (owner === null) return { who: finding.actor.text, besides: '' }
  const process = owner.unit !== null && owner.name !== owner.unit ? owner.name : ''
  const pid = owner.pid === null ? '' : say.finding.pid(owner.pid)
  return { who: nameOf(owner), besides: [process, pid].filter(Boolean).join(say.comma) }
}

const IDENTITY = ['alertname', 'netns', 'direction', 'port', 'path', 'owner']

/** The alert that a finding has become, if it has; it may fire with another severity for a while. */
export function alertOf(finding: Finding, observation: Observation): Alert | null {
  const its = observation.alerts.filter(
    ({ labels, state }) => state !== 'resolved' && IDENTITY.every(name => labels[name] === finding.alert[name]),
  )
  const firing = its.filter(({ state }) => state === 'firing')
  const [first] = firing.length > 0 ? firing : its
  return firing.find(({ labels }) => labels['severity'] === 'critical') ?? first ?? null
}

/** A finding, and those that follow from it. */
export interface Cause {
  finding: Finding
  symptoms: Finding[]
}

/** The findings in their order, each symptom below the cause that is among them. */
export function byCause(findings: Finding[]): Cause[] {
  const causes = new Map<Finding, Cause>()
  for (const finding of findings) {
    const root = rootOf(finding, findings)
    const cause = causes.get(root) ?? { finding: root, symptoms: [] }
    if (finding !== root) cause.symptoms.push(finding)
    causes.set(root, cause)
  }
  return [...causes.values()]
}

/** The worst of a cause and its symptoms. */
export const severityOf = ({ finding, symptoms }: Cause): Severity =>
  [finding, ...symptoms].some(({ severity }) => severity === 'critical') ? 'critical' : 'warning'

/** The causes in the order of before, while their severity holds; new ones after those as severe. */
export function inOrder(causes: Cause[], before: string[]): Cause[] {
  const place = (cause: Cause): number => {
    const at = before.indexOf(idOf(cause.finding))
    return at < 0 ? before.length : at
  }
  const severe = (cause: Cause): number => Number(severityOf(cause) !== 'critical')
  return [...causes].sort((a, b) => severe(a) - severe(b) || place(a) - place(b))
}

/** A number of the evidence, if it is there and in this unit. */
export function figure(finding: Finding, name: string, unit: Quantity['unit']): number | null {
  const value = finding.evidence[name]
  if (value === undefined || 'parts' in value || value.unit !== unit || typeof value.value === 'string') return null
  return value.value
}

/** Follow causes as far as they are among the findings; a circle ends where it closes. */
function rootOf(finding: Finding, findings: Finding[]): Finding {
  const passed = new Set([finding])
  for (let at = finding; ; ) {
    const cause = findings.find(other => at.cause !== null && isNamed(other, at.cause))
    if (cause === undefined || passed.has(cause)) return at
    passed.add(cause)
    at = cause
  }
}

const isNamed = ({ detector, netns, subject, alert }: Finding, key: FindingKey): boolean =>
  detector === key.detector &&
  netns === key.netns &&
  subject.direction === key.subject.direction &&
  subject.port === key.subject.port &&
  subject.path === key.subject.path &&
  (alert['owner'] ?? null) === key.subject.owner

/** What identifies a finding from poll to poll. */
export const idOf = ({ alert }: Finding): string =>
  JSON.stringify(IDENTITY.map(name => alert[name] ?? null))
