/** Listens to /api/v1/events, and reconnects after ever longer pauses when the connection is lost. */

import type { Beat, Observation } from './model/message'
import { backoff, type Link } from './model/status'
import { keepUp } from './version'

export interface Listener {
  observed(observation: Observation): void
  /** The daemon sent something that this page does not understand. */
  misunderstood(why: Error): void
  /** `at`: when it arrived, on the clock of `seconds`. */
  beat(beat: Beat, at: number): void
  link(link: Link): void
}

/** The daemon sends something every 5 s. */
const SILENT_SECONDS = 20
/** A browser opens six connections to a host: a hidden page closes its own. */
const HIDDEN_SECONDS = 60

/** Seconds on a monotonic clock. */
export const seconds = (): number => performance.now() / 1000

/** Listen to what is sent of all namespaces, and of this one (null: the daemon's own); returns how to stop. */
export function listen(listener: Listener, netns: string | null): () => void {
  const query = netns === null ? '' : `?netns=${encodeURIComponent(netns)}`
  let source: EventSource | null = null
  let tries = 0
  let timer = 0
  let silence = 0
  let hidden = 0

  function open(): void {
    stop()
    listener.link({ phase: 'connecting', again: tries > 0 })
    source = new EventSource(`/api/v1/events${query}`)
    source.addEventListener('observation', event => {
      understand(() => {
        const observation = JSON.parse(event.data) as Observation
        if (keepUp(observation.version)) listener.observed(observation)
      })
    })
    source.addEventListener('beat', event => {
      tries = 0
      understand(() => listener.beat(JSON.parse(event.data) as Beat, seconds()))
      listener.link({ phase: 'live' })
    })
    source.onerror = () => lost(source?.readyState === EventSource.CLOSED)
    heard()
  }

  function understand(take: () => void): void {
    heard()
    try {
      take()
    } catch (error) {
      listener.misunderstood(error as Error)
    }
  }

  function heard(): void {
    window.clearTimeout(silence)
    silence = window.setTimeout(() => lost(false), SILENT_SECONDS * 1000)
  }

  function lost(refused: boolean): void {
    stop()
    const wait = backoff(tries, Math.random())
    tries += 1
    listener.link({ phase: 'lost', retryAt: seconds() + wait, refused })
    timer = window.setTimeout(open, wait * 1000)
  }

  function stop(): void {
    source?.close()
    source = null
    window.clearTimeout(timer)
    window.clearTimeout(silence)
  }

  function seen(): void {
    window.clearTimeout(hidden)
    if (document.hidden) {
      hidden = window.setTimeout(() => {
        stop()
        listener.link({ phase: 'paused' })
      }, HIDDEN_SECONDS * 1000)
    } else if (source === null) {
      tries = 0
      open()
    }
  }

  document.addEventListener('visibilitychange', seen)
  open()
  return () => {
    stop()
    window.clearTimeout(hidden)
    document.removeEventListener('visibilitychange', seen)
  }
}
