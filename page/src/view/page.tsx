import { useEffect, useErrorBoundary, useMemo, useRef, useState } from 'preact/hooks'
import { listen, seconds } from '../feed'
import { believed } from '../model/believed'
import { everywhere, hostVerdict, isOfMany, OWN, worstNamespace } from '../model/host'
import type { Beat, Finding, Observation } from '../model/message'
import { linkTo, namedIn } from '../model/namespaces'
import { spokenNamespace } from '../model/spoken'
import { polledAt, status, type Link } from '../model/status'
import { readers, type Zone } from '../model/time'
import { verdict, type Level } from '../model/verdict'
import { keep, language as spoken, localeOf, say, saved, speak, type Language } from '../words'
import { Ages } from './ages'
import { Banner } from './banner'
import { Gauges } from './gauges'
import { DETAILS, goTo, show } from './going'
import { Head, type Whose } from './head'
import { Past } from './past'
import { useRecent } from './recent'
import { States } from './states'
import { Tables } from './tables'
import { InZone } from './time'
import { Verdict } from './verdict'

const MARKS: Record<Level, string> = { ok: '✓', warning: '▲', critical: '✕', unknown: '?' }

/** The page, or why there is none: a page that cannot be drawn must not look healthy. */
export function Page() {
  const [broken] = useErrorBoundary(error => {
    console.warn(error)
    document.title = '… sockmon'
  })
  const [language, setLanguage] = useState(saved)
  if (language !== spoken) speak(language) // before anything below is drawn
  useEffect(() => {
    document.documentElement.lang = localeOf(language)
  }, [language])
  const choose = (chosen: Language): void => {
    keep(chosen)
    setLanguage(chosen)
  }
  if (!broken) return <Live key={language} setLanguage={choose} />
  return (
    <>
      <header><span class="wordmark">sockmon</span></header>
      <main>
        <Banner title={say.status.brokenTitle} text={say.status.broken} />
      </main>
    </>
  )
}

function Live({ setLanguage }: { setLanguage: (language: Language) => void }) {
  const [observation, setObservation] = useState<Observation | null>(null)
  const [every, setEvery] = useState(5)
  const [polled, setPolled] = useState<number | null>(null)
  const [link, setLink] = useState<Link>({ phase: 'connecting', again: false })
  const [wrong, setWrong] = useState<Error | null>(null)
  const [whose, setWhose] = useState<Whose>('server')
  const chosen = useChosen()
  const now = useSeconds()

  const all = useMemo(() => (observation ? everywhere(observation) : []), [observation])
  const shown = observation?.namespace?.netns ?? null
  const wanted = chosen ?? worstNamespace(all, shown)

  const undated = useRef(false)
  useEffect(() => {
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
    return listen(listener, wanted)
  }, [wanted])
  if (wrong !== null) throw wrong

  const namespace = useMemo(
    () => (observation?.namespace ? spokenNamespace(believed(observation.namespace, observation)) : null),
    [observation],
  )
  const zone: Zone = useMemo(() => {
    if (observation === null) return { name: 'UTC', offset: 0 }
    const { name, offset_seconds: offset } = observation.zone
    return whose === 'mine' ? readers(observation.taken_at) : { name, offset }
  }, [whose, observation?.zone.name, observation?.zone.offset_seconds])
  const recentOf = useRecent(namespace?.netns ?? null, observation?.taken_at ?? 0)
  const said = observation && namespace ? verdict(namespace, observation) : null
  const whole = observation && isOfMany(observation) ? hostVerdict(all, observation, namespace) : null
  const level = (whole ?? said)?.level
  const how = status(link, polled === null ? null : now - polled, every, now)

  useEffect(() => {
    const mark = how.kind === 'live' ? (level ? MARKS[level] : '') : '…'
    document.title = `${mark} ${observation?.host ?? 'sockmon'}`.trim()
  }, [how.kind, level, observation?.host])

  const isThere = observation !== null
  useEffect(() => {
    if (isThere && namedIn(location.hash) !== null) show(DETAILS) // the address is a link to a namespace
  }, [isThere])

  const ofFinding = ({ subject: { direction, port } }: Finding) => recentOf(direction, port)
  return (
    <InZone.Provider value={zone}>
      <a class="skip" href="#verdict" onClick={goTo('verdict')}>{say.head.skip}</a>
      <Head {...{ observation, zone, whose, setWhose, setLanguage }} status={how} />
      <main class={how.kind === 'gone' || how.kind === 'old' ? 'stale' : ''}>
        {how.kind === 'gone' || how.kind === 'old' ? (
          <Banner title={how.kind === 'gone' ? say.status.goneTitle : say.status.oldTitle} text={how.text}>
            {how.counting}
          </Banner>
        ) : null}
        {observation && (said ?? whole) ? (
          <Verdict said={said ?? whole!} {...{ all, whole, namespace, observation }} recentOf={ofFinding} />
        ) : null}
        {observation && namespace ? (
          <>
            <Past key={namespace.netns} namespace={namespace} observation={observation} />
            <div class="side">
              <Gauges namespace={namespace} />
              <Ages namespace={namespace} observation={observation} />
            </div>
            <Tables {...{ namespace, all, observation, recentOf }} />
            <States namespace={namespace} observation={observation} />
          </>
        ) : observation ? (
          <Absent netns={wanted ?? ''} own={observation.namespaces[OWN]?.netns ?? ''} />
        ) : (
          <p class="waiting" role="status">{how.text}</p>
        )}
      </main>
      <footer>
        <span>sockmon {observation?.version}</span>
        <a href={`/runbooks/?lang=${spoken}`}>{say.foot.runbooks}</a>
        <a href="/metrics">{say.foot.metrics}</a>
        <a href="/api/v1/observation">{say.foot.observation}</a>
        <a href="/api/v1/alerts">{say.foot.alerts}</a>
        <a href="/api/v1/history">{say.foot.history}</a>
      </footer>
    </InZone.Provider>
  )
}

/** The namespace that the address names is not there. */
function Absent({ netns, own }: { netns: string; own: string }) {
  const [before, after] = say.verdict.absent
  return (
    <section id={DETAILS} class="card" aria-labelledby="absent" tabIndex={-1}>
      <h2 id="absent">{before}<bdi class="netns">{netns}</bdi>{after}</h2>
      <p>{say.verdict.absentWhy} <a href={linkTo(own)}>{say.verdict.absentLink}</a></p>
    </section>
  )
}

/** The namespace that the address names; null: nobody has chosen one. */
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
