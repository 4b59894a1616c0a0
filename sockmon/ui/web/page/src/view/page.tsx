import { useEffect, useMemo, useState } from 'preact/hooks'
import { listen, seconds } from '../feed'
import { believed } from '../model/believed'
import type { AlertChange, Beat, Observation, State } from '../model/message'
import { status, type Link } from '../model/status'
import { verdict, type Level } from '../model/verdict'
import { Ages } from './ages'
import { Alerts } from './alerts'
import { Diagram } from './diagram'
import { Gauges } from './gauges'
import { Head } from './head'
import { Past } from './past'
import { StateTable } from './table'
import { Explained } from './explained'
import { Verdict } from './verdict'

const MARKS: Record<Level, string> = { ok: '✓', warning: '▲', critical: '✕', unknown: '?' }

export function Page() {
  const [observation, observed] = useState<Observation | null>(null)
  const [beat, beaten] = useState<{ beat: Beat; at: number } | null>(null)
  const [link, linked] = useState<Link>({ phase: 'connecting' })
  const [chosen, choose] = useState('host')
  const [state, look] = useState<State>('close_wait')
  const [changes, changed] = useState<AlertChange[] | null>(null)
  const now = useSeconds()

  useEffect(
    () => listen({ observed, beat: (beat, at) => beaten({ beat, at }), link: linked }),
    [],
  )

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
  const ageThen = beat?.beat.age_seconds ?? null
  const age = ageThen === null || beat === null ? null : ageThen + Math.max(0, now - beat.at)
  const how = status(link, age, beat?.beat.interval_seconds ?? 5, now)

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
          <p class="banner" role="alert">
            <strong>{how.kind === 'gone' ? 'sockmon is gone.' : 'Old data.'}</strong> {how.text}
          </p>
        ) : null}
        {observation && namespace && said ? (
          <>
            <Verdict said={said} namespace={namespace} observation={observation} />
            <Past key={namespace.netns} namespace={namespace} observation={observation} changed={changed} />
            <Gauges namespace={namespace} />
            <Diagram namespace={namespace} chosen={state} choose={look} />
            <div class="stack">
              <Explained state={state} namespace={namespace} observation={observation} />
              <Ages namespace={namespace} observation={observation} />
              <Alerts observation={observation} changes={changes} />
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
