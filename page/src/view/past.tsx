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
import { explanation } from '../model/states'
import { Plot } from './plot'

/** What a row stands for where the past is whole; a poll may be shorter. */
const FINEST: Record<Range, number> = { hour: 1, day: 60 }
/** What moves little, and would flatten what does. */
const HIDDEN_AT_FIRST: State[] = ['listen', 'close']

export function Past(props: {
  namespace: Namespace
  observation: Observation
  /** Called with what the daemon's history tells of alerts. */
  changed: (changes: AlertChange[]) => void
}) {
  const { namespace, observation, changed } = props
  const [range, choose] = useState<Range>('hour')
  const [logarithmic, scale] = useState(false)
  const [hidden, hide] = useState<ReadonlySet<State>>(new Set(HIDDEN_AT_FIRST))
  const [pointed, point] = useState<number | null>(null)
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
            <button type="button" key={each} aria-pressed={each === range} onClick={() => choose(each)}>{each}</button>
          ))}
        </fieldset>
        <fieldset class="choice">
          <legend class="unseen">Scale</legend>
          <button type="button" aria-pressed={!logarithmic} onClick={() => scale(false)}>linear</button>
          <button type="button" aria-pressed={logarithmic} onClick={() => scale(true)}>log</button>
        </fieldset>
        <span class="note when">{pointed !== null && when ? clock(when, observation.taken_at) : ''}</span>
      </div>
      {columns === null ? (
        <p class="empty plot">History is on its way.</p>
      ) : (
        <Plot columns={columns} changes={changes} hidden={hidden} logarithmic={logarithmic} point={point} />
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
                hide(next)
              }}
            >
              <span class={`swatch ${state}`} />
              {explanation(state, null).name}
              <span class="n">{told(columns?.states[state].at(at))}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  )
}

/** How much is remembered, where it is not each poll of the hour, or each minute of the day. */
function Note({ step, range }: { step: number | null; range: Range }) {
  if (step === null) {
    return (
      <p class="note">
        No history is kept of this namespace: the memory for it is bounded, and others come first:
        the host’s own, those in trouble, those known longest. What is plotted begins with this page.
      </p>
    )
  }
  if (step <= FINEST[range]) return null
  return (
    <p class="note">
      {range === 'hour'
        ? 'By the minute, with the highest of each: where there are many namespaces, every poll is remembered from trouble on.'
        : 'By ten minutes, with the highest of each: where there are many namespaces, a day of all is remembered so.'}
    </p>
  )
}

const told = (n: number | null | undefined): string => (n == null ? '–' : count(n))

/** History as the daemon keeps it, and what each poll adds; asked for anew when there was a gap. */
function usePast(
  namespace: Namespace,
  observation: Observation,
  range: Range,
  changed: (changes: AlertChange[]) => void,
) {
  const [history, know] = useState<{ columns: Columns; changes: AlertChange[]; range: Range } | null>(null)
  const [asked, ask] = useState(0)
  const waiting = useRef(false)

  useEffect(() => {
    const request = new AbortController()
    waiting.current = true
    const query = `range=${range}&netns=${encodeURIComponent(namespace.netns)}`
    fetch(`/api/v1/history?${query}`, { signal: request.signal })
      .then(answer => (answer.ok ? (answer.json() as Promise<History>) : null))
      .then(told => {
        if (told === null) return
        const changes = told.alert_changes.filter(({ labels }) => labels['netns'] === namespace.netns)
        know({ columns: columnsOf(told), changes, range })
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
      if (!waiting.current) ask(n => n + 1) // an answer that is slow to come is waited for
    } else if (range === 'hour') {
      know({ ...history, columns: appended(history.columns, namespace, observation, range) })
    }
  }, [observation])

  const alerts = JSON.stringify(observation.alerts.map(({ state, labels }) => [state, labels]))
  useEffect(() => {
    if (history !== null) ask(n => n + 1)
  }, [alerts])

  return history?.range === range ? history : { columns: null, changes: [] }
}
