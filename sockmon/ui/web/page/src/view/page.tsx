import { useEffect, useErrorBoundary, useMemo, useRef, useState } from 'preact/hooks'
import { listen, seconds } from '../feed'
import { believed } from '../model/believed'
import type { AlertChange, Observation, State } from '../model/message'
import { polledAt, status, type Link } from '../model/status'
import { verdict, worstState, type Level } from '../model/verdict'
import { Ages } from './ages'
import { Alerts } from './alerts'
import { Diagram } from './diagram'
import { Gauges } from './gauges'
import { Banner } from './banner'
import { Head } from './head'
import { Past } from './past'
import { StateTable } from './table'
import { Explained } from './explained'
import { Verdict } from './verdict'

const MARKS: Record<Level, string> = { ok: '✓', warning: '▲', critical: '✕', unknown: '?' }

/** The page, or why there is none: what cannot be drawn must not be taken for what is. */
export function Page() {
  const [broken] = useErrorBoundary(error => {
    console.warn(error)
    document.title = '… sockmon'
  })
  if (!broken) return <Live />
  return (
    <>
      <header><span class="wordmark">sockmon</span></header>
      <main>
        <Banner title="Not understood." text="This page does not understand what the daemon says: reload it." />
      </main>
    </>
  )
}

function Live() {
  const [observation, observed] = useState<Observation | null>(null)
  const [interval, everySeconds] = useState(5)
  const [polled, dated] = useState<number | null>(null)
  const [link, linked] = useState<Link>({ phase: 'connecting', again: false })
  const [wrong, misunderstood] = useState<Error | null>(null)
  const [chosen, choose] = useState('host')
  const [state, look] = useState<State | null>(null)
  const [changes, changed] = useState<AlertChange[] | null>(null)
  const now = useSeconds()

  const undated = useRef(false)
  useEffect(
    () =>
      listen({
        observed: told => {
          observed(told)
          undated.current = true
        },
        misunderstood,
        beat: ({ age_seconds, interval_seconds }, at) => {
          const isFirst = undated.current
          undated.current = false
          dated(known => polledAt(known, isFirst, age_seconds, at))
          everySeconds(interval_seconds)
        },
        link: linked,
      }),
    [],
  )
  if (wrong !== null) throw wrong

  const namespaces = observation?.namespaces ?? []
  const told = namespaces.find(({ netns }) => netns === chosen) ?? namespaces[0] ?? null
  const namespace = useMemo(
    () => (observation && told ? believed(told, observation) : null),
    [observation, told],
  )
  const said = useMemo(
    () => (observation && namespace ? verdict(namespace, observation) : null),
    [observation, namespace],
  )
  const how = status(link, polled === null ? null : now - polled, interval, now)
  const shown = state ?? (namespace ? worstState(namespace) : 'established')

  useEffect(() => {
    const mark = how.kind === 'live' ? (said ? MARKS[said.level] : '') : '…'
    document.title = `${mark} ${observation?.host ?? 'sockmon'}`.trim()
  }, [how.kind, said, observation?.host])

  return (
    <>
      <a class="skip" href="#verdict">To the verdict</a>
      <Head
        observation={observation}
        namespace={namespace}
        choose={choose}
        status={how}
      />
      <main class={how.kind === 'gone' || how.kind === 'old' ? 'stale' : ''}>
        {how.kind === 'gone' || how.kind === 'old' ? (
          <Banner title={how.kind === 'gone' ? 'sockmon is gone.' : 'Old data.'} text={how.text}>
            {how.counting}
          </Banner>
        ) : null}
        {observation && namespace && said ? (
          <>
            <Verdict said={said} namespace={namespace} observation={observation} />
            <Past key={namespace.netns} namespace={namespace} observation={observation} changed={changed} />
            <Gauges namespace={namespace} />
            <Diagram namespace={namespace} chosen={shown} choose={look} />
            <div class="stack">
              <Explained state={shown} namespace={namespace} observation={observation} />
              <Ages namespace={namespace} observation={observation} />
              <Alerts namespace={namespace} observation={observation} changes={changes} />
            </div>
            <StateTable namespace={namespace} />
          </>
        ) : (
          <p class="waiting" role="status">{how.text}</p>
        )}
      </main>
      <footer>
        <span>sockmon {observation?.version}</span>
        <a href="/metrics">metrics</a>
        <a href="/api/v1/observation">observation</a>
        <a href="/api/v1/alerts">alerts</a>
        <a href="/api/v1/history">history</a>
        <a href="https://github.com/sockmon/sockmon/tree/main/docs/runbooks" rel="noreferrer">runbooks</a>
      </footer>
    </>
  )
}

/** The seconds that `seconds()` counts, each second; not while nobody looks. */
function useSeconds(): number {
  const [now, tick] = useState(seconds)
  useEffect(() => {
    const timer = setInterval(() => document.hidden || tick(seconds()), 1000)
    return () => clearInterval(timer)
  }, [])
  return Math.max(now, seconds())
}
