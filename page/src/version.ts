/** A page of one version must not read the messages of another version's daemon: it is loaded again. */

const KEY = 'sockmon.reloaded_at'
/** At least so long between two loads: behind a load balancer, daemons of two versions may take turns. */
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
  if (since >= 0 && since < PATIENCE_MS) throw new Error(`sockmon ${version} sends messages for another version of this page`)
  sessionStorage.setItem(KEY, String(Date.now()))
  location.reload()
  return false
}
