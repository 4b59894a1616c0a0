/** The verdict on the whole host: on all its network namespaces, the worst first. */

import { isOld } from './believed'
import { count, plural } from './format'
import type { Observation, OtherNamespaces, Summary } from './message'
import { HEALTHY, severities, type Level, type Verdict } from './verdict'

/** A namespace in a line, and the verdict on it. */
export interface Listed {
  line: Summary
  level: Level
  says: string
  /** The name of the owner that must act, if it is one and is known. */
  blame: string | null
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
  observation.namespaces.map(line => listed(line, observation))

function listed(line: Summary, observation: Observation): Listed {
  const { counted_at, diagnosed_at, beat_seconds, degraded, worst, warnings, critical, unseen } = line
  const fresh = (at: number | null): at is number => at !== null && !isOld(at, beat_seconds, observation)
  const age = fresh(counted_at) ? Math.max(0, observation.taken_at - counted_at) : null
  const said = (level: Level, says: string): Listed => ({ line, level, says, blame: null, age })
  if (age === null) {
    return said('unknown', counted_at === null && unseen === 0 ? 'not polled yet' : 'could not be read')
  }
  if (degraded) return said('unknown', 'seen from outside: counted, not diagnosed')
  if (!fresh(diagnosed_at)) return said('unknown', 'counted, could not be judged')
  if (worst !== null) {
    const more = warnings + critical - 1
    return {
      ...said(critical > 0 ? 'critical' : 'warning', worst.title + (more > 0 ? `, and ${count(more)} more` : '')),
      blame: worst.owner,
    }
  }
  return unseen > 0 ? said('unknown', 'nothing wrong found, not everything could be read') : said('ok', 'healthy')
}

export const troubled = (all: Listed[]): Listed[] =>
  all
    .filter(({ level }) => level === 'critical' || level === 'warning')
    .sort((a, b) => rank(a.level) - rank(b.level) || findings(b) - findings(a))

const findings = ({ line }: Listed): number => line.warnings + line.critical

/** `where`: the namespace that the headline is about, if it is about one. */
export function hostVerdict(all: Listed[], observation: Observation): Verdict & { where: string | null } {
  const bad = troubled(all)
  const sockets = all.reduce((sum, { line, age }) => sum + (age === null ? 0 : (line.sockets ?? 0)), 0)
  const among = `${plural(sockets, 'TCP socket')} in ${plural(all.length, 'network namespace')}`
  const [worst] = bad
  if (worst !== undefined) {
    const { critical, warnings } = bad.reduce(
      (sum, { line }) => ({ critical: sum.critical + line.critical, warnings: sum.warnings + line.warnings }),
      { critical: 0, warnings: 0 },
    )
    return {
      level: worst.level,
      headline:
        bad.length > 1
          ? `Something is wrong in ${count(bad.length)} network namespaces`
          : findings(worst) > 1
            ? `${count(findings(worst))} things are wrong`
            : worst.says,
      where: bad.length > 1 ? null : worst.line.netns,
      blame: bad.length > 1 ? null : worst.blame,
      detail: `${severities(critical, warnings)} among ${among}.`,
    }
  }
  const unseen = all.filter(({ level }) => level === 'unknown').length
  const isPartial = unseen > 0 || observation.hints.length > 0
  return {
    level: isPartial ? 'unknown' : 'ok',
    headline: isPartial
      ? 'Nothing wrong was found, but not everything could be read'
      : 'The sockets are healthy in every network namespace',
    where: null,
    blame: null,
    detail:
      unseen > 0
        ? `${among}. ${count(unseen)} of these could not be judged completely; in the others ${HEALTHY}.`
        : `${among}: ${HEALTHY}${isPartial ? ', as far as could be read' : ''}.`,
  }
}

/** How many other namespaces the host has, by what is seen of them; null: only the daemon's own is polled. */
export function neighbourhood(neighbours: OtherNamespaces | null): string | null {
  if (neighbours === null) return null
  const { inside, outside, empty, hidden } = neighbours
  const parts = [
    inside > 0 ? `${count(inside)} polled` : '',
    outside > 0 ? `${count(outside)} counted from outside` : '',
    empty > 0 ? `${count(empty)} without sockets` : '',
    hidden > 0 ? `${count(hidden)} not visible` : '',
  ].filter(Boolean)
  return parts.length > 0 ? `Network namespaces besides the host’s own: ${parts.join(', ')}.` : 'This host has no other network namespace.'
}
