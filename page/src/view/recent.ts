import { useEffect, useState } from 'preact/hooks'
import type { GroupHistory, History } from '../model/message'
import type { Recent } from './spark'

/** Groups of which the daemon keeps a history. */
const GROUPS = 16
const POINTS = 60
const AGAIN_SECONDS = 60

export type RecentOfGroup = (direction: string | null, port: number | string | null) => Recent | null

/** The last hour of a namespace's largest groups, fetched about once a minute; `now`: of the last poll. */
export function useRecent(netns: string | null, now: number): RecentOfGroup {
  const [history, setHistory] = useState<History | null>(null)
  const turn = Math.floor(now / AGAIN_SECONDS)
  useEffect(() => {
    if (netns === null) return
    const request = new AbortController()
    const query = `range=hour&groups=${GROUPS}&rows=${POINTS}&netns=${encodeURIComponent(netns)}`
    fetch(`/api/v1/history?${query}`, { signal: request.signal })
      .then(answer => (answer.ok ? (answer.json() as Promise<History>) : null))
      .then(setHistory)
      .catch(() => undefined) // the stream says that the daemon is gone
    return () => request.abort()
  }, [netns, turn])
  return (direction, port) => {
    if (history === null || history.netns !== netns) return null
    const its = (group: GroupHistory): boolean => group.direction === direction && group.port === port
    const group = history.groups.find(its)
    return group === undefined ? null : { times: history.times, group }
  }
}
