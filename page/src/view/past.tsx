import { useEffect, useRef, useState } from 'preact/hooks'
import { clock, count } from '../model/format'
import { appended, columnsOf, isBehind, type Columns } from '../model/history'
import {
  STATES,
  type AlertChange,
  type History,
  type Namespace,
  type Observation,
  type Range,
  type State,
} from '../model/message'
import { nameOf } from '../model/states'
import { Plot } from './plot'

/** Seconds that a row stands for where history is complete; a poll may be shorter. */
const FINEST: Record<Range, number> = { hour: 1, day: 60 }
/** They change little, and would flatten those that do. */
const HIDDEN_AT_FIRST: State[] = ['listen', 'close']

export function Past(props: {
  namespace: Namespace
  observation: Observation
  /** Called with the alerts of the daemon's history. */
  changed: (changes: AlertChange[]) => void
}) {
  const { namespace, observation, changed } = props
  const [range, setRange] = useState<Range>('hour')
  const [logarithmic, setLogarithmic] = useState(false)
  const [hidden, setHidden] = useState<ReadonlySet<State>>(new Set(HIDDEN_AT_FIRST))
  const [pointed, setPointed] = useState<number | null>(null)
  const { columns, changes } = usePast(namespace, observation, range, changed)
  const at = pointed === null ? -1 : pointed
  const when = columns?.times.at(at)
  return (
    <section class="card past" aria-labelledby="past">
      <div class="heading">
        <h2 id="past">States over the last {range}</h2>
        <fieldset class="choice">
          <legend class="unseen">Range</legend>
          {(['hour', 'day'] as const).map(each => (
            <button type="button" key={each} aria-pressed={each === range} onClick={() => setRange(each)}>{each}</button>
          ))}
        </fieldset>
        <fieldset class="choice">
          <legend class="unseen">Scale</legend>
          <button type="button" aria-pressed={!logarithmic} onClick={() => setLogarithmic(false)}>linear</button>
          <button type="button" aria-pressed={logarithmic} onClick={() => setLogarithmic(true)}>log</button>
        </fieldset>
        <span class="note when">{pointed !== null && when ? clock(when, observation.taken_at) : ''}</span>
      </div>
      {columns === null ? (
        <p class="empty plot">Loading the history.</p>
      ) : (
        <Plot columns={columns} changes={changes} hidden={hidden} logarithmic={logarithmic} point={setPointed} />
      )}
      {columns === null ? null : <Note step={columns.step} range={range} />}
      <ul class="legend">
        {STATES.map(state => (
          <li key={state}>
            <button
              type="button"
              class={columns?.states[state].at(at) ? '' : 'none'}
              aria-pressed={!hidden.has(state)}
              onClick={() => {
                const next = new Set(hidden)
                if (!next.delete(state)) next.add(state)
                setHidden(next)
              }}
            >
              <span class={`swatch ${state}`} />
              {nameOf(state)}
              <span class="n">{shown(columns?.states[state].at(at))}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  )
}

/** How exact history is, where it does not have each poll of the hour, or each minute of the day. */
function Note({ step, range }: { step: number | null; range: Range }) {
  if (step === null) {
    return (
      <p class="note">
        No history is kept of this namespace, because the memory for history is full. The plot
        starts when you opened this page.
      </p>
    )
  }
  if (step <= FINEST[range]) return null
  return (
    <p class="note">
      {range === 'hour'
        ? 'One value a minute, the highest. With many namespaces, every poll is kept only from the first finding on.'
        : 'One value every ten minutes, the highest, because there are many namespaces.'}
    </p>
  )
}

const shown = (n: number | null | undefined): string => (n == null ? '–' : count(n))

/** History as the daemon keeps it, and what each poll adds; fetched again after a gap. */
function usePast(
  namespace: Namespace,
  observation: Observation,
  range: Range,
  changed: (changes: AlertChange[]) => void,
) {
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
        changed(changes)
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

  return history?.range === range ? history : { columns: null, changes: [] }
}
