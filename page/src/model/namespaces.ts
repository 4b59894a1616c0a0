/** The namespaces as rows of a table, and the one that an address names. */

import { say } from '../words'
import { rank, type Listed } from './host'
import type { Row } from './table'

/** What is not known sorts below every number. */
const NOT_KNOWN = -1

export const rowsOf = (all: Listed[]): Row<Listed>[] =>
  all.map(listed => {
    const { line, level, says, age } = listed
    const known = (n: number | null): number => (age === null ? NOT_KNOWN : (n ?? NOT_KNOWN))
    return {
      id: line.netns,
      name: line.netns,
      cells: {
        name: line.netns,
        verdict: -rank(level),
        sockets: known(line.sockets),
        established: known(line.established),
        close_wait: known(line.close_wait),
        time_wait: known(line.time_wait),
        age: known(age),
        total: line.sockets ?? 0,
      },
      states: {},
      words: `${line.netns} ${level} ${say.level[level]} ${says} ${line.worst?.owner ?? ''}`.toLowerCase(),
      isRest: false,
      source: listed,
    }
  })

/** '#netns=web%201' -> 'web 1'; null: it names none. */
export const namedIn = (hash: string): string | null => new URLSearchParams(hash.slice(1)).get('netns')

export const linkTo = (netns: string): string => `#netns=${encodeURIComponent(netns)}`
