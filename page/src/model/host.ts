/** The verdict on the whole host: on all its network namespaces, the worst first. */

import { say } from '../words'
import { isOld } from './believed'
import { byCause } from './findings'
import { count } from './format'
import type { Namespace, Observation, OtherNamespaces, Summary, Worst } from './message'
import { short } from './names'
import { spokenSummary } from './spoken'
import { headline, sockets, until, type Level, type Verdict } from './verdict'

/** A namespace in a line, and the verdict on it. */
export interface Listed {
  line: Summary
  level: Level
  says: string
  /** Seconds since its sockets were counted, at the last poll; null: they are not known. */
  age: number | null
}

const WORST: Level[] = ['critical', 'warning', 'unknown', 'ok']

/** How bad: 0 is worst. */
export const rank = (level: Level): number => WORST.indexOf(level)

/** The one that the daemon is in comes first. */
export const OWN = 0

/** Whether there is more than the daemon's own namespace to show. */
export const isOfMany = ({ namespaces, hints }: Observation): boolean =>
  namespaces.length > 1 || hints.length > 0

export const everywhere = (observation: Observation): Listed[] =>
  observation.namespaces.map(line => listed(spokenSummary(line), observation))

function listed(line: Summary, observation: Observation): Listed {
  const { counted_at, diagnosed_at, beat_seconds, degraded, worst, warnings, critical, unseen } = line
  const its = say.tables
  const fresh = (at: number | null): at is number => at !== null && !isOld(at, beat_seconds, observation)
  const age = fresh(counted_at) ? Math.max(0, observation.taken_at - counted_at) : null
  const said = (level: Level, says: string): Listed => ({ line, level, says, age })
  if (age === null) return said('unknown', counted_at === null && unseen === 0 ? its.notPolled : its.unreadable)
  if (degraded) return said('unknown', its.outside)
  if (!fresh(diagnosed_at)) return said('unknown', its.counts)
  if (worst !== null) {
    const more = warnings + critical - 1
    return said(critical > 0 ? 'critical' : 'warning', more > 0 ? its.more(clause(worst), more) : clause(worst))
  }
  return unseen > 0 ? said('unknown', its.partly) : said('ok', say.level.ok)
}

const clause = ({ title, owner, does }: Worst): string =>
  owner !== null && does !== null ? say.verdict.clause(short(owner), does.one) : title

/** Those with findings, the worst first: as severe, with the soonest failure, with most findings. */
export const troubled = (all: Listed[]): Listed[] =>
  all
    .filter(({ level }) => level === 'critical' || level === 'warning')
    .sort((a, b) => rank(a.level) - rank(b.level) || left(a) - left(b) || findings(b) - findings(a))

const findings = ({ line }: Listed): number => line.warnings + line.critical
const left = ({ line }: Listed): number => line.worst?.deadline?.seconds ?? Number.MAX_VALUE

/**
 * The namespace to show while nobody has chosen one: the worst. The one that is shown stays while it
 * is in trouble and none is worse by its severity. null: the host's own.
 */
export function worstNamespace(all: Listed[], shown: string | null): string | null {
  const bad = troubled(all)
  const [worst] = bad
  if (worst === undefined) return null
  const still = bad.find(({ line }) => line.netns === shown)
  return still?.level === worst.level ? still.line.netns : worst.line.netns
}

/** `namespace`: the one that is shown, whose findings are known. */
export function hostVerdict(all: Listed[], observation: Observation, namespace: Namespace | null): Verdict {
  const bad = troubled(all)
  const its = say.verdict
  const total = all.reduce((sum, { line, age }) => sum + (age === null ? 0 : (line.sockets ?? 0)), 0)
  const among = say.inNamespaces(sockets(total), all.length)
  const [worst] = bad
  if (worst !== undefined) {
    const { critical, warnings } = bad.reduce(
      (sum, { line }) => ({ critical: sum.critical + line.critical, warnings: sum.warnings + line.warnings }),
      { critical: 0, warnings: 0 },
    )
    const { netns } = worst.line
    const text = namespace?.netns === netns && namespace.findings?.length
      ? headline(byCause(namespace.findings))
      : worst.says + (worst.line.worst?.deadline ? say.semicolon + until(worst.line.worst.deadline) : '')
    const first = netns === all[OWN]?.line.netns && bad.length === 1 ? text : its.where(text, netns)
    return {
      level: worst.level,
      headline: bad.length > 1 ? its.troubled(bad.length, first) : first,
      detail: `${its.counts(critical, warnings)} · ${among}`,
    }
  }
  const unseen = all.filter(({ level }) => level === 'unknown').length
  const isPartial = unseen > 0 || observation.hints.length > 0
  return {
    level: isPartial ? 'unknown' : 'ok',
    headline: isPartial ? its.partial : its.healthyAll,
    detail: unseen > 0
      ? its.partialHost(among, unseen, its.noTrouble)
      : `${among}${say.colon}${its.noTrouble}${isPartial ? its.asFar : ''}${say.stop}`,
  }
}

/** How many other namespaces the host has, by what is seen of them; null: only the daemon's own is polled. */
export function neighbourhood(neighbours: OtherNamespaces | null): string | null {
  if (neighbours === null) return null
  const { inside, outside, empty, hidden } = neighbours
  const its = say.verdict.neighbours
  const parts = [
    inside > 0 ? its.inside(count(inside)) : '',
    outside > 0 ? its.outside(count(outside)) : '',
    empty > 0 ? its.empty(count(empty)) : '',
    hidden > 0 ? its.hidden(count(hidden)) : '',
  ].filter(Boolean)
  return parts.length > 0 ? its.lead + parts.join(say.comma) + say.stop : its.alone
}
