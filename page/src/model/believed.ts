/** Which parts of a namespace may still be shown: the daemon sends the last that it could read, however old. */

import { say } from '../words'
import { duration } from './format'
import type { Namespace, Observation } from './message'
import { OLD_AFTER_INTERVALS } from './status'

/** However long a namespace waits for its turn: the same as the daemon's OLDEST_BELIEVED. */
const OLDEST_BELIEVED = 180

/** Whether what was read at `at` is too old to be shown, with `beat` seconds between polls. */
export function isOld(at: number, beat: number, observation: Observation): boolean {
  const { interval_seconds } = observation
  const patience = Math.max(OLD_AFTER_INTERVALS * interval_seconds, Math.min(OLD_AFTER_INTERVALS * beat, OLDEST_BELIEVED))
  // In either direction: a time in the future is from before the clock was set.
  return Math.abs(observation.taken_at - at) > patience
}

/** The namespace without the parts that have not been read for so long: they are not known. */
export function believed(namespace: Namespace, observation: Observation): Namespace {
  const { tcp, ports, owners, limits, diagnosed_at, beat_seconds } = namespace
  const gone = (at: number): boolean => isOld(at, beat_seconds, observation)
  const kept = <Part extends { taken_at: number }>(part: Part | null): Part | null =>
    part !== null && gone(part.taken_at) ? null : part
  return {
    ...namespace,
    tcp: kept(tcp),
    ports: kept(ports),
    owners: kept(owners),
    limits: kept(limits),
    ...(diagnosed_at !== null && gone(diagnosed_at) ? UNKNOWN : {}),
  }
}

/** The parts of a diagnosis when there is none. */
const UNKNOWN = {
  findings: null,
  unavailable: null,
  hidden_processes: null,
  ages: null,
  close_wait_oldest_seconds: null,
  close_wait_stale: null,
  stale_after_seconds: null,
}

/** Why counts are older than an interval, as a sentence; null: they are not. */
export function dated(namespace: Namespace, observation: Observation): string | null {
  const { tcp, beat_seconds, looked_at } = namespace
  const { taken_at, interval_seconds } = observation
  const age = tcp === null ? 0 : taken_at - tcp.taken_at
  if (age <= interval_seconds) return null
  const its = say.verdict
  const beat = its.beat(duration(beat_seconds))
  if (looked_at < taken_at) return its.numbersOld(duration(age), beat)
  if (beat_seconds > interval_seconds) {
    return its.restOld(duration(age), beat)
  }
  return its.failedSince(duration(age))
}
