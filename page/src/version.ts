/** A page of one version must not read what a daemon of another says: it is loaded again. */

const KEY = 'sockmon.reloaded_at'
/** So long at least between two loads: behind a balancer, daemons of two versions may take turns. */
const PATIENCE_MS = 60_000

let first: string | null = null

/**
 * Whether the daemon is still of the version that this page first heard from; if not, load the page
 * again. Throws Error if that was done a moment ago, or cannot be remembered.
 */
export function keepUp(version: string): boolean {
  first ??= version
  if (version === first) return true
  const since = Date.now() - Number(sessionStorage.getItem(KEY) ?? 0)
  if (since >= 0 && since < PATIENCE_MS) throw new Error(`sockmon ${version} says what is meant for another page`)
  sessionStorage.setItem(KEY, String(Date.now()))
  location.reload()
  return false
}
