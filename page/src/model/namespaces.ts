/** The list of namespaces: sorted, filtered, cut; and the one that an address names. */

import { rank, type Listed } from './host'
import { wordsOf, type Order } from './sorting'

export type Column = 'netns' | 'verdict' | 'sockets' | 'established' | 'close_wait' | 'time_wait' | 'age'
/** Columns that begin with the smallest; the others with the worst, the largest or the oldest. */
export const ASCENDING: readonly Column[] = ['netns']

/** So many are shown until all are asked for. */
export const SHOWN = 10

/** Those that match every word, by name or verdict, sorted; what is not known comes last. */
export function arranged(all: Listed[], words: string, { column, descending }: Order<Column>): Listed[] {
  const wanted = wordsOf(words)
  const sign = descending ? -1 : 1
  return all
    .filter(listed => wanted.every(word => text(listed).includes(word)))
    .sort((a, b) => {
      const [x, y] = [value(a, column), value(b, column)]
      if (x === null || y === null) return Number(x === null) - Number(y === null)
      return (x < y ? -sign : x > y ? sign : 0) || rank(a.level) - rank(b.level) || sockets(b) - sockets(a)
    })
}

/** The first of them, and the one that is chosen. */
export const cut = (found: Listed[], chosen: string): Listed[] =>
  found.filter(({ line }, at) => at < SHOWN || line.netns === chosen)

const sockets = ({ line }: Listed): number => line.sockets ?? 0

const text = ({ line, level, says, blame }: Listed): string =>
  `${line.netns} ${level} ${says} ${blame ?? ''}`.toLowerCase()

function value({ line, level, age }: Listed, column: Column): number | string | null {
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
