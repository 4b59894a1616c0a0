import { useEffect, useState } from 'preact/hooks'
import type { SocketsAnswer } from '../model/message'
import type { Part } from '../model/table'

/** Some of a namespace's sockets in parts, fetched after each poll; null: not known (yet). */
export function useSockets(netns: string, part: Part, takenAt: number): SocketsAnswer | null {
  const [answer, setAnswer] = useState<SocketsAnswer | null>(null)
  const asked = new URLSearchParams({ netns })
  for (const [name, value] of Object.entries(part)) asked.set(name, String(value))
  const query = String(asked)
  useEffect(() => {
    const request = new AbortController()
    fetch(`/api/v1/sockets?${query}`, { signal: request.signal })
      .then(response => (response.ok ? (response.json() as Promise<SocketsAnswer>) : null))
      .then(setAnswer)
      .catch(() => undefined) // the stream says that the daemon is gone
    return () => request.abort()
  }, [query, takenAt])
  return answer
}
