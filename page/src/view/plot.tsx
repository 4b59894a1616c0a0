import { useEffect, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import { shortCount } from '../model/format'
import type { Columns } from '../model/history'
import { STATES, type AlertChange, type State } from '../model/message'
import { nameOf } from '../model/states'

const HEIGHT = 260

/** States of one hue have lines of different kinds, so that colour is not the only difference. */
const DASHES: Partial<Record<State, number[]>> = {
  syn_recv: [6, 3],
  fin_wait1: [6, 3],
  closing: [2, 3],
  last_ack: [6, 3],
  listen: [2, 3],
  close: [8, 3, 2, 3],
}

interface Props {
  columns: Columns
  changes: AlertChange[]
  hidden: ReadonlySet<State>
  logarithmic: boolean
  /** Called with the place of the time under the cursor. */
  point: (at: number | null) => void
}

export function Plot({ columns, changes, hidden, logarithmic, point }: Props) {
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const marks = useRef(changes)
  const scheme = useScheme()
  marks.current = changes

  useEffect(() => {
    const element = place.current as HTMLDivElement
    const made = new uPlot(options(element, logarithmic, hidden, marks, point), data(columns), element)
    plot.current = made
    const observer = new ResizeObserver(() =>
      made.setSize({ width: element.clientWidth, height: HEIGHT }),
    )
    observer.observe(element)
    return () => {
      observer.disconnect()
      made.destroy()
      plot.current = null
    }
  }, [logarithmic, scheme])

  useEffect(() => plot.current?.setData(data(columns)), [columns, changes])
  useEffect(() => {
    STATES.forEach((state, at) => plot.current?.setSeries(at + 1, { show: !hidden.has(state) }))
  }, [hidden])

  return (
    <div
      class="plot"
      ref={place}
      role="img"
      tabIndex={0}
      aria-label="Sockets by state over time; the values are in the list below. Arrow keys move the cursor."
      onKeyDown={event => move(plot.current, event)}
    />
  )
}

const data = (columns: Columns): uPlot.AlignedData => [
  columns.times,
  ...STATES.map(state => columns.states[state]),
]

function options(
  element: HTMLElement,
  logarithmic: boolean,
  hidden: ReadonlySet<State>,
  marks: { current: AlertChange[] },
  point: (at: number | null) => void,
): uPlot.Options {
  const axis = { stroke: colour(element, '--muted'), grid: { stroke: colour(element, '--line'), width: 1 }, ticks: { show: false } }
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    padding: [12, 28, 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: {
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
      { ...axis, size: 48, values: (_, ticks) => ticks.map(n => n === null || n !== Math.round(n) ? '' : shortCount(n)) },
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
      setCursor: [chart => point(chart.cursor.idx ?? null)],
    },
  }
}

/**
 * An alert that fired or was resolved: a line through the plot, full or dashed. One that changed
 * its severity: the colour of the severity before above, that of the new one below.
 */
function drawChanges(chart: uPlot, changes: AlertChange[], element: HTMLElement): void {
  const { ctx, bbox } = chart
  const { min, max } = chart.scales['x'] ?? {}
  ctx.save()
  ctx.lineWidth = devicePixelRatio
  for (const { at, state, labels, previous_severity: previous } of changes) {
    if (min == null || max == null || at < min || at > max) continue
    const x = Math.round(chart.valToPos(at, 'x', true))
    const level = colour(element, state === 'resolved' ? '--ok' : `--${labels['severity']}`)
    const stroke = ctx.createLinearGradient(0, bbox.top, 0, bbox.top + bbox.height)
    stroke.addColorStop(0, previous === null ? level : colour(element, `--${previous}`))
    stroke.addColorStop(1, level)
    ctx.strokeStyle = stroke
    ctx.setLineDash(state === 'firing' ? [] : [4, 4])
    ctx.beginPath()
    ctx.moveTo(x, bbox.top)
    ctx.lineTo(x, bbox.top + bbox.height)
    ctx.stroke()
  }
  ctx.restore()
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
