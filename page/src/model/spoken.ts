/** What the daemon says, in the page's language: it sends each text of a finding in all of them. */

import { language } from '../words'
import type { Finding, Namespace, Summary } from './message'

function finding(its: Finding): Finding {
  const { zh, actor, deadline } = its
  return {
    ...its,
    title: zh.title,
    summary: zh.summary,
    critical_because: zh.critical_because,
    actor: { ...actor, text: zh.actor, does: zh.does === null ? null : { one: zh.does, many: zh.does } },
    deadline: deadline && { ...deadline, what: zh.deadline ?? deadline.what },
    advice: its.advice.map((each, at) => ({ ...each, text: zh.advice[at] ?? each.text })),
  }
}

function summary(line: Summary): Summary {
  if (line.worst === null) return line
  const { zh, deadline } = line.worst
  const does = zh.does === null ? null : { one: zh.does, many: zh.does }
  return {
    ...line,
    worst: { ...line.worst, title: zh.title, does, deadline: deadline && { ...deadline, what: zh.deadline ?? deadline.what } },
  }
}

export const spokenNamespace = (namespace: Namespace): Namespace =>
  language === 'en' ? namespace : { ...namespace, findings: namespace.findings?.map(finding) ?? null }

export const spokenSummary = (line: Summary): Summary => (language === 'en' ? line : summary(line))

/** What a key of the evidence is called. */
export const evidenceName = (its: Finding, name: string): string =>
  (language === 'zh' ? its.zh.evidence[name] : undefined) ?? name.replaceAll('_', ' ')
