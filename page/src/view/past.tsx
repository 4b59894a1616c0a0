import { useContext, useEffect, useRef, useState } from 'preact/hooks'
import { count, duration } from '../model/format'
import {
  appended, columnsOf, isBehind, lately, occurring, SPANS, SPAN_NAMES, type Columns, type Span,
} from '../model/history'
import { STATES, type AlertChange, type History, type Namespace, type Observation, type Range, type State } from '../model/message'
import { nameOf } from '../model/states'
import { clock, minuteOf } from '../model/time'
import { say } from '../words'
import { Alerts } from './alerts'
import { Choice } from './choice'
import type { Plot as PlotOf, Window } from './plot'
import { InZone } from './time'

/** Seconds that a row stands for where history is complete; a poll may be shorter. */
const FINEST: Record<Range, number> = { hour: 1, day: 60 }
/** They change little, and would flatten those that do. */
const HIDDEN_AT_FIRST: State[] = ['listen', 'close']

export function Past({ namespace, observation }: { namespace: Namespace; observation: Observation }) {
  const [span, setSpan] = useState<Span>('1h')
  const [scale, setScale] = useState<'linear' | 'log'>('linear')
  const [hidden, setHidden] = useState<ReadonlySet<State>>(new Set(HIDDEN_AT_FIRST))
  const [zoom, setZoom] = useState<Window | null>(null)
  const zone = useContext(InZone)
  const Plot = usePlot()
  const { range, seconds } = SPANS[span]
  const { columns: whole, changes } = usePast(namespace, observation, range)
  const columns = whole === null ? null : lately(whole, seconds)
  const now = observation.taken_at
  const [first, last] = zoom ?? [columns?.times[0] ?? now, columns?.times.at(-1) ?? now]
  const since = zoom === null ? last - seconds : first
  const seen = (changes ?? []).filter(({ at }) => at >= since && at <= last + 1)
  const times = columns === null || columns.times.length === 0 ? '' : last - first < 300
    ? say.past.range(clock(first, now, zone), clock(last, now, zone), zone.name)
    : say.past.range(minuteOf(first, zone), minuteOf(last, zone), zone.name)
  const choose = (value: Span): void => {
    setZoom(null)
    setSpan(value)
  }
  return (
    <section class="card past" aria-labelledby="past">
      <div class="heading">
        <h2 id="past">{say.past.title}{times ? <span class="note"> {times}</span> : null}</h2>
        {zoom === null ? null : <button type="button" class="more" onClick={() => setZoom(null)}>{say.past.reset}</button>}
        <Choice name={say.past.span} values={SPAN_NAMES} chosen={span} choose={choose} text={each => say.past.spans[each]} />
        <Choice name={say.past.scale} values={['linear', 'log'] as const} chosen={scale} choose={setScale} text={each => say.past[each]} />
      </div>
      {columns === null || Plot === null ? (
        <div class="plot-frame"><p class="empty">{say.past.loading}</p></div>
      ) : (
        <Plot columns={columns} changes={changes ?? []} hidden={hidden} logarithmic={scale === 'log'} zoom={zoom} setZoom={setZoom} />
      )}
      {columns === null ? null : <Note columns={columns} range={range} seconds={seconds} />}
      {columns === null ? null : <Legend {...{ columns, hidden, setHidden }} />}
      <Alerts namespace={namespace} observation={observation} changes={seen} />
    </section>
  )
}

/** The plot and its library, which are loaded when all else is shown; null: not yet. */
function usePlot(): typeof PlotOf | null {
  const [loaded, setLoaded] = useState<{ Plot: typeof PlotOf } | null>(null)
  useEffect(() => void import('./plot').then(setLoaded), [])
  return loaded?.Plot ?? null
}

/** The states that occur, with their last values; those that do not are only counted. */
function Legend(props: { columns: Columns; hidden: ReadonlySet<State>; setHidden: (hidden: ReadonlySet<State>) => void }) {
  const { columns, hidden, setHidden } = props
  const states = occurring(columns)
  const toggle = (state: State): void => {
    const next = new Set(hidden)
    if (!next.delete(state)) next.add(state)
    setHidden(next)
  }
  const rest = STATES.length - states.length
  return (
    <ul class="legend" aria-label={say.past.legend}>
      {states.map(state => (
        <li key={state}>
          <button type="button" aria-pressed={!hidden.has(state)} onClick={() => toggle(state)}>
            <span class={`swatch ${state}`} />
            {nameOf(state)}{' '}
            <span class="n">{known(columns.states[state].at(-1))}</span>
          </button>
        </li>
      ))}
      {rest > 0 ? <li class="note">{say.past.atZero(rest)}</li> : null}
      <li class="note hint">{say.past.hint}</li>
    </ul>
  )
}

/** How exact and how long history is, where it is not complete. */
function Note({ columns: { step, times }, range, seconds }: { columns: Columns; range: Range; seconds: number }) {
  if (step === null) return <p class="note">{say.past.noHistory}</p>
  const length = (times.at(-1) ?? 0) - (times[0] ?? 0)
  const texts = [
    step <= FINEST[range] ? '' : range === 'hour' ? say.past.minute : say.past.tenMinutes,
    length < 0.9 * seconds ? say.past.short(duration(length)) : '',
  ].filter(Boolean)
  return texts.length === 0 ? null : <p class="note">{texts.join(say.space)}</p>
}

const known = (n: number | null | undefined): string => (n == null ? '–' : count(n))

/** History as the daemon keeps it, and what each poll adds; fetched again after a gap. */
function usePast(namespace: Namespace, observation: Observation, range: Range) {
  const [history, setHistory] = useState<{ columns: Columns; changes: AlertChange[]; range: Range } | null>(null)
  const [asked, setAsked] = useState(0)
  const waiting = useRef(false)

  useEffect(() => {
    const request = new AbortController()
    waiting.current = true
    const query = `range=${range}&netns=${encodeURIComponent(namespace.netns)}`
    fetch(`/api/v1/history?${query}`, { signal: request.signal })
      .then(answer => (answer.ok ? (answer.json() as Promise<History>) : null))
      .then(received => {
        if (received === null) return
        const changes = received.alert_changes.filter(({ labels }) => labels['netns'] === namespace.netns)
        setHistory({ columns: columnsOf(received), changes, range })
      })
      .catch(() => undefined) // the stream says that the daemon is gone
      .finally(() => {
        if (!request.signal.aborted) waiting.current = false
      })
    return () => request.abort()
  }, [range, namespace.netns, asked])

  useEffect(() => {
    if (history?.range !== range || isBehind(history.columns, namespace, observation, range)) {
      if (!waiting.current) setAsked(n => n + 1) // an answer that is slow to come is waited for
    } else if (range === 'hour') {
      setHistory({ ...history, columns: appended(history.columns, namespace, observation, range) })
    }
  }, [observation])

  const alerts = JSON.stringify(observation.alerts.map(({ state, labels }) => [state, labels]))
  useEffect(() => {
    if (history !== null) setAsked(n => n + 1)
  }, [alerts])

  return history?.range === range ? history : { columns: null, changes: null }
}
