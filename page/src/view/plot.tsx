import { useContext, useEffect, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import { count, shortCount } from '../model/format'
import { occurring, type Columns } from '../model/history'
import { labelled, levelOf } from '../model/marks'
import { STATES, type AlertChange, type Severity, type State } from '../model/message'
import { nameOf } from '../model/states'
import { clock, type Zone } from '../model/time'
import { say } from '../words'
import { InZone } from './time'

/** Fewer pixels are a click. */
const LEAST_DRAG = 8
/** Room above the plot for the marks of alerts. */
const MARKS = 26

/** States of one hue have lines of different kinds, so that colour is not the only difference. */
const DASHES: Partial<Record<State, number[]>> = {
  syn_recv: [6, 3],
  fin_wait1: [6, 3],
  closing: [2, 3],
  last_ack: [6, 3],
  listen: [2, 3],
  close: [8, 3, 2, 3],
}

/** From when to when. */
export type Window = readonly [from: number, to: number]

interface Props {
  columns: Columns
  changes: AlertChange[]
  hidden: ReadonlySet<State>
  logarithmic: boolean
  /** The part that is shown; null: all of it. */
  zoom: Window | null
  setZoom: (zoom: Window | null) => void
}

export function Plot({ columns, changes, hidden, logarithmic, zoom, setZoom }: Props) {
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const marks = useRef(changes)
  const scheme = useScheme()
  const zone = useContext(InZone)
  const [pointed, setPointed] = useState<Pointed | null>(null)
  const shown = useRef(zoom)
  marks.current = changes
  shown.current = zoom

  useEffect(() => {
    const element = place.current as HTMLDivElement
    const made = new uPlot(options(element, { logarithmic, hidden, marks, zone, setPointed, setZoom, shown }), data(columns), element)
    plot.current = made
    const observer = new ResizeObserver(() =>
      made.setSize({ width: element.clientWidth, height: element.clientHeight }),
    )
    observer.observe(element)
    return () => {
      observer.disconnect()
      made.destroy()
      plot.current = null
    }
  }, [logarithmic, scheme, zone.offset, say])

  useEffect(() => plot.current?.setData(data(columns)), [columns, changes, zoom])
  useEffect(() => {
    STATES.forEach((state, at) => plot.current?.setSeries(at + 1, { show: !hidden.has(state) }))
  }, [hidden])

  return (
    <div class="plot-frame">
      <div
        class="plot"
        ref={place}
        role="img"
        tabIndex={0}
        aria-label={say.past.plot}
        onKeyDown={event => move(plot.current, event)}
      />
      {pointed === null ? null : <Tip {...{ pointed, columns, hidden, zone }} />}
    </div>
  )
}

/** A place in the plot: of a row, and in pixels. */
interface Pointed {
  at: number
  left: number
  /** Beyond the middle: what is said of it stands on the other side. */
  isRight: boolean
}

/** What the plot shows under the cursor; it covers a part of the plot, and moves nothing. */
function Tip({ pointed, columns, hidden, zone }: { pointed: Pointed; columns: Columns; hidden: ReadonlySet<State>; zone: Zone }) {
  const { at, left, isRight } = pointed
  const when = columns.times[at]
  if (when === undefined) return null
  return (
    <div class="tip" style={isRight ? { right: `calc(100% - ${left - 10}px)` } : { left: `${left + 10}px` }}>
      <strong class="when">{clock(when, columns.times.at(-1) ?? when, zone)}</strong>
      {STATES.filter(state => !hidden.has(state) && columns.states[state][at]).map(state => (
        <span key={state}><span class={`swatch ${state}`} /> {nameOf(state)} <b>{count(columns.states[state][at] ?? 0)}</b></span>
      ))}
    </div>
  )
}

/** Without the states that do not occur: their lines would cover the axis. */
function data(columns: Columns): uPlot.AlignedData {
  const states = occurring(columns)
  const nothing = columns.times.map(() => null)
  return [columns.times, ...STATES.map(state => (states.includes(state) ? columns.states[state] : nothing))]
}

function options(
  element: HTMLElement,
  its: {
    logarithmic: boolean
    hidden: ReadonlySet<State>
    marks: { current: AlertChange[] }
    zone: Zone
    setPointed: (pointed: Pointed | null) => void
    setZoom: (zoom: Window | null) => void
    shown: { current: Window | null }
  },
): uPlot.Options {
  const { logarithmic, hidden, marks, zone, shown } = its
  const axis = { stroke: colour(element, '--muted'), grid: { stroke: colour(element, '--line'), width: 1 }, ticks: { show: false } }
  return {
    width: element.clientWidth,
    height: element.clientHeight,
    legend: { show: false },
    padding: [MARKS, 28, 0, 0],
    tzDate: at => uPlot.tzDate(new Date((at + zone.offset) * 1000), 'UTC'),
    cursor: {
      y: false,
      drag: { x: true, y: false, setScale: false },
      points: { size: 6 },
      bind: {
        dblclick: () => () => {
          its.setZoom(null)
          return null
        },
      },
    },
    scales: {
      x: { range: (_, low, high) => [...(shown.current ?? [low, high])] as [number, number] },
      y: logarithmic
        ? { distr: 4, asinh: 1, range: (_, __, high) => [0, Math.max(10, high)] }
        : { range: (_, __, high) => [0, Math.max(4, high * 1.05)] },
    },
    axes: [
      { ...axis, size: 30, space: 76, values: [
        [3600, '{HH}:{mm}', null, null, null, null, null, null, 1],
        [60, '{HH}:{mm}', null, null, null, null, null, null, 1],
        [1, '{HH}:{mm}:{ss}', null, null, null, null, null, null, 1],
      ] },
      { ...axis, size: 48, space: 44, values: (_, ticks) => ticks.map(n => n === null || n !== Math.round(n) ? '' : shortCount(n)) },
    ],
    series: [
      {},
      ...STATES.map(state => ({
        label: nameOf(state),
        stroke: colour(element, `--${state}`),
        width: state === 'close_wait' ? 2.5 : 1.75,
        show: !hidden.has(state),
        points: { show: false },
        ...(DASHES[state] ? { dash: DASHES[state] } : {}),
      })),
    ],
    hooks: {
      draw: [chart => drawChanges(chart, marks.current, element)],
      setCursor: [chart => {
        const { idx, left = -1 } = chart.cursor
        const x = left + chart.bbox.left / devicePixelRatio
        its.setPointed(idx == null || left < 0 ? null : { at: idx, left: x, isRight: x > element.clientWidth / 2 })
      }],
      setSelect: [chart => {
        const { left, width } = chart.select
        if (width < LEAST_DRAG) return
        its.setZoom([chart.posToVal(left, 'x'), chart.posToVal(left + width, 'x')])
        chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false)
      }],
    },
  }
}

/**
 * An alert that fired or was resolved, or changed its severity: a line through the plot, full or
 * dashed, and a label above it, which those close together share.
 */
function drawChanges(chart: uPlot, changes: AlertChange[], element: HTMLElement): void {
  const { ctx, bbox } = chart
  const { min, max } = chart.scales['x'] ?? {}
  if (min == null || max == null) return
  const marks = changes.filter(({ at }) => at >= min && at <= max)
    .map(change => ({ x: Math.round(chart.valToPos(change.at, 'x', true)), change }))
  ctx.save()
  ctx.lineWidth = devicePixelRatio
  ctx.font = `${11 * devicePixelRatio}px ${getComputedStyle(element).fontFamily}`
  const hue = (change: AlertChange): string =>
    colour(element, levelOf(change) === 'resolved' ? '--ok' : `--${levelOf(change)}`)
  for (const { x, change } of marks) {
    ctx.strokeStyle = hue(change)
    ctx.setLineDash(change.state === 'firing' ? [] : [4, 4])
    ctx.beginPath()
    ctx.moveTo(x, bbox.top)
    ctx.lineTo(x, bbox.top + bbox.height)
    ctx.stroke()
  }
  const width = (text: string): number => ctx.measureText(text).width
  for (const { change, text, left } of labelled(marks, {
    text: textOf, width, end: bbox.left + bbox.width, gap: 10 * devicePixelRatio,
  })) {
    ctx.fillStyle = hue(change)
    ctx.fillText(text, left, bbox.top - 8 * devicePixelRatio)
  }
  ctx.restore()
}

/** What a label says: of one change, or of the gravest of several. */
function textOf({ state, labels, previous_severity: previous }: AlertChange, n: number): string {
  const word = say.severity[labels['severity'] as Severity]
  const what = state === 'resolved' ? say.past.mark.resolved : previous === null ? word : say.past.nowSeverity(word)
  return `${state === 'resolved' ? '✓' : '▲'} ${what}${n > 1 ? ` +${n - 1}` : ''}`
}

function move(chart: uPlot | null, event: KeyboardEvent): void {
  if (chart === null || (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight')) return
  event.preventDefault()
  const last = chart.data[0].length - 1
  const step = (event.key === 'ArrowLeft' ? -1 : 1) * (event.shiftKey ? 10 : 1)
  const at = Math.max(0, Math.min(last, (chart.cursor.idx ?? last) + step))
  chart.setCursor({ left: chart.valToPos(chart.data[0][at] ?? 0, 'x'), top: 0 })
}

/** A colour of the style sheet, as the canvas takes it. */
function colour(element: HTMLElement, variable: string): string {
  const probe = element.appendChild(document.createElement('i'))
  probe.style.color = `var(${variable})`
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}

/** Changes whenever colours do. */
function useScheme(): number {
  const [scheme, setScheme] = useState(0)
  useEffect(() => {
    const dark = matchMedia('(prefers-color-scheme: dark)')
    const again = (): void => setScheme(n => n + 1)
    dark.addEventListener('change', again)
    addEventListener('themechange', again)
    return () => {
      dark.removeEventListener('change', again)
      removeEventListener('themechange', again)
    }
  }, [])
  return scheme
}
