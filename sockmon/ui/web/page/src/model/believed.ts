/** What of a namespace may still be shown: the daemon tells the last that it could read, however old. */

import type { Namespace, Observation } from './message'
import { OLD_AFTER_INTERVALS } from './status'

/** The namespace without the parts that have not been read for so long: they are not known. */
export function believed(namespace: Namespace, observation: Observation): Namespace {
  const patience = OLD_AFTER_INTERVALS * observation.interval_seconds
  // Either way: what seems to come is from before the clock was set.
  const isOld = (at: number): boolean => Math.abs(observation.taken_at - at) > patience
  const kept = <Part extends { taken_at: number }>(part: Part | null): Part | null =>
    part !== null && isOld(part.taken_at) ? null : part
  const { tcp, ports, limits, diagnosed_at } = namespace
  return {
    ...namespace,
    tcp: kept(tcp),
    ports: kept(ports),
    limits: kept(limits),
    ...(diagnosed_at !== null && isOld(diagnosed_at) ? UNKNOWN : {}),
  }
}

/** What a diagnosis tells, when there is none. */
const UNKNOWN = {
  findings: null,
  blind: null,
  hidden_processes: null,
  ages: null,
  close_wait_oldest_seconds: null,
  close_wait_stale: null,
}
