/** What is written above the plot of alerts: those close together share one label, so that none is lost. */

import type { AlertChange, Severity } from './message'

type Level = Severity | 'resolved'
const GRAVEST_FIRST: Level[] = ['critical', 'warning', 'resolved']

/** A change, `x` units from the left. */
export interface Mark {
  x: number
  change: AlertChange
}

export interface Label extends Mark {
  /** Where its text begins and ends. */
  left: number
  right: number
  text: string
  /** How many changes it stands for; `change` is the gravest of them, the latest if several are. */
  count: number
}

export const levelOf = ({ state, labels }: AlertChange): Level =>
  state === 'resolved' ? 'resolved' : (labels['severity'] as Severity)

/**
 * Labels that do not overlap, for marks in the order of time.
 *
 * text: what is said of a change, and how many it stands for. width: of a text. end: of the room.
 */
export function labelled(
  marks: Mark[],
  its: { text: (change: AlertChange, count: number) => string; width: (text: string) => number; end: number; gap: number },
): Label[] {
  const made = ({ x, change }: Mark, count: number): Label => {
    const text = its.text(change, count)
    const width = its.width(text)
    const left = Math.min(x - its.gap / 2, its.end - width)
    return { x, change, count, text, left, right: left + width }
  }
  const labels: Label[] = []
  for (const mark of marks) {
    let label = made(mark, 1)
    for (let last = labels.at(-1); last !== undefined && label.left < last.right + its.gap; last = labels.at(-1)) {
      labels.pop()
      const gravest = rank(last.change) < rank(label.change) ? last.change : label.change
      label = made({ x: last.x, change: gravest }, last.count + label.count)
    }
    labels.push(label)
  }
  return labels
}

const rank = (change: AlertChange): number => GRAVEST_FIRST.indexOf(levelOf(change))
