import { useEffect, useErrorBoundary, useMemo, useRef, useState } from 'preact/hooks'
import { listen, seconds } from '../feed'
import { believed } from '../model/believed'
import type { AlertChange, Beat, Observation, State } from '../model/message'
import { everywhere, hostVerdict, isOfMany, OWN } from '../model/host'
import { linkTo, namedIn } from '../model/namespaces'
import { polledAt, status, type Link } from '../model/status'
import { verdict, worstState, type Level } from '../model/verdict'
import { Ages } from './ages'
import { Alerts } from './alerts'
import { Diagram } from './diagram'
import { Gauges } from './gauges'
import { Banner } from './banner'
import { DETAILS, goTo, show } from './going'
import { Head } from './head'
import { Host } from './host'
import { Namespaces } from './namespaces'
import { Owners } from './owners'
import { Past } from './past'
import { StateTable } from './table'
import { Explained } from './explained'
import { Verdict } from './verdict'

const MARKS: Record<Level, string> = { ok: '✓', warning: '▲', critical: '✕', unknown: '?' }

/** The page, or why there is none: a page that cannot be drawn must not look healthy. */
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
        <Banner title="Not understood." text="This page does not understand what the daemon sends: reload it." />
      </main>
    </>
  )
}

function Live() {
  const [observation, setObservation] = useState<Observation | null>(null)
  const [every, setEvery] = useState(5)
  const [polled, setPolled] = useState<number | null>(null)
  const [link, setLink] = useState<Link>({ phase: 'connecting', again: false })
  const [wrong, setWrong] = useState<Error | null>(null)
  const chosen = useChosen()
  const [state, setState] = useState<State | null>(null)
  const [changes, setChanges] = useState<AlertChange[] | null>(null)
  const now = useSeconds()

  const undated = useRef(false)
  useEffect(() => {
    setState(null)
    const listener = {
      observed: (received: Observation) => {
        setObservation(received)
        undated.current = true
      },
      misunderstood: setWrong,
      beat: ({ age_seconds, interval_seconds }: Beat, at: number) => {
        const isFirst = undated.current
        undated.current = false
        setPolled(known => polledAt(known, isFirst, age_seconds, at))
        setEvery(interval_seconds)
      },
      link: setLink,
    }
    return listen(listener, chosen)
  }, [chosen])
  if (wrong !== null) throw wrong

  const namespace = useMemo(
    () => (observation?.namespace ? believed(observation.namespace, observation) : null),
    [observation],
  )
  const all = useMemo(() => (observation ? everywhere(observation) : []), [observation])
  const many = observation !== null && isOfMany(observation)
  const said = observation && namespace ? verdict(namespace, observation) : null
  const level = many ? hostVerdict(all, observation).level : said?.level
  const how = status(link, polled === null ? null : now - polled, every, now)
  const shown = state ?? (namespace ? worstState(namespace) : 'established')

  useEffect(() => {
    const mark = how.kind === 'live' ? (level ? MARKS[level] : '') : '…'
    document.title = `${mark} ${observation?.host ?? 'sockmon'}`.trim()
  }, [how.kind, level, observation?.host])

  const isThere = observation !== null
  useEffect(() => {
    if (isThere && namedIn(location.hash) !== null) show(DETAILS) // the address is a link to a namespace
  }, [isThere])

  return (
    <>
      <a class="skip" href="#verdict" onClick={goTo('verdict')}>To the verdict</a>
      <Head observation={observation} status={how} />
      <main class={how.kind === 'gone' || how.kind === 'old' ? 'stale' : ''}>
        {how.kind === 'gone' || how.kind === 'old' ? (
          <Banner title={how.kind === 'gone' ? 'sockmon is gone.' : 'Old data.'} text={how.text}>
            {how.counting}
          </Banner>
        ) : null}
        {observation && many ? (
          <>
            <Host all={all} observation={observation} />
            {all.length > 1 ? (
              <Namespaces all={all} observation={observation} chosen={namespace?.netns ?? chosen ?? ''} />
            ) : null}
          </>
        ) : null}
        {observation && namespace && said ? (
          <>
            <Verdict said={said} namespace={namespace} observation={observation} isOne={many} />
            <Past key={namespace.netns} namespace={namespace} observation={observation} changed={setChanges} />
            <Gauges namespace={namespace} />
            <Diagram namespace={namespace} chosen={shown} choose={setState} />
            <div class="stack">
              <Explained state={shown} namespace={namespace} observation={observation} />
              <Ages namespace={namespace} observation={observation} />
              <Alerts namespace={namespace} observation={observation} changes={changes} />
            </div>
            <StateTable namespace={namespace} />
            <Owners namespace={namespace} />
          </>
        ) : observation ? (
          <Absent netns={chosen ?? ''} own={observation.namespaces[OWN]?.netns ?? ''} />
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

/** The namespace that the address names is not there. */
function Absent({ netns, own }: { netns: string; own: string }) {
  return (
    <section id={DETAILS} class="card" aria-labelledby="absent" tabIndex={-1}>
      <h2 id="absent">There is no network namespace <bdi class="netns">{netns}</bdi> now</h2>
      <p>It has ended, or has no sockets. <a href={linkTo(own)}>Show the host’s own instead.</a></p>
    </section>
  )
}

/** The namespace that the address names; null: the host's own. */
function useChosen(): string | null {
  const [chosen, setChosen] = useState(namedIn(location.hash))
  useEffect(() => {
    const follow = (): void => {
      const named = namedIn(location.hash)
      if (named !== null || location.hash === '') setChosen(named)
    }
    addEventListener('hashchange', follow)
    return () => removeEventListener('hashchange', follow)
  }, [])
  return chosen
}

/** The seconds that `seconds()` counts, once a second; not while the page is hidden. */
function useSeconds(): number {
  const [now, setNow] = useState(seconds)
  useEffect(() => {
    const timer = setInterval(() => document.hidden || setNow(seconds()), 1000)
    return () => clearInterval(timer)
  }, [])
  return Math.max(now, seconds())
}
