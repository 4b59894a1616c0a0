/** The list of namespaces: sorted, filtered, cut; and the one that an address names. */

import { rank, type Told } from './host'
import { wordsOf, type Order } from './sorting'

export type Column = 'netns' | 'verdict' | 'sockets' | 'established' | 'close_wait' | 'time_wait' | 'age'
/** Columns that begin with the smallest; the others with the worst, the largest or the oldest. */
export const ASCENDING: readonly Column[] = ['netns']

/** So many are shown until all are asked for. */
export const SHOWN = 10

/** Those that match every word, by name or verdict, sorted; what is not known comes last. */
export function arranged(all: Told[], words: string, { column, descending }: Order<Column>): Told[] {
  const wanted = wordsOf(words)
  const sign = descending ? -1 : 1
  return all
    .filter(told => wanted.every(word => text(told).includes(word)))
    .sort((a, b) => {
      const [x, y] = [value(a, column), value(b, column)]
      if (x === null || y === null) return Number(x === null) - Number(y === null)
      return (x < y ? -sign : x > y ? sign : 0) || rank(a.level) - rank(b.level) || sockets(b) - sockets(a)
    })
}

/** The first of them, and the one that is looked at. */
export const cut = (found: Told[], chosen: string): Told[] =>
  found.filter(({ line }, at) => at < SHOWN || line.netns === chosen)

const sockets = ({ line }: Told): number => line.sockets ?? 0

const text = ({ line, level, says, blame }: Told): string =>
  `${line.netns} ${level} ${says} ${blame ?? ''}`.toLowerCase()

function value({ line, level, age }: Told, column: Column): number | string | null {
  switch (column) {
    case 'netns':
      return line.netns
    case 'verdict':
      return -rank(level)
    case 'age':
      return age
    default:
      return age === null ? null : line[column]
  }
}

/** '#netns=web%201' -> 'web 1'; null: it names none. */
export const namedIn = (hash: string): string | null => new URLSearchParams(hash.slice(1)).get('netns')

export const linkTo = (netns: string): string => `#netns=${encodeURIComponent(netns)}`
