/** The table of (direction, port) by state: rows, sorted and filtered. */

import { STATES, type Group, type State } from './message'
import { wordsOf, type Order } from './sorting'

export type Column = 'direction' | 'port' | 'total' | 'receive' | 'send' | State
/** Columns that begin with the smallest. */
export const ASCENDING: readonly Column[] = ['direction', 'port']

type Counts = Partial<Record<State, number>>

/** States that some row has, in their usual order: the others need no column. */
export const columns = (rows: { states: Counts }[]): State[] =>
  STATES.filter(state => rows.some(row => (row.states[state] ?? 0) > 0))

export const sum = (states: Counts): number => Object.values(states).reduce((all, n) => all + n, 0)

export const total = (group: Group): number => sum(group.states)

/**
 * Keep the groups that match every word: a direction, the beginning of a port, or a state that it has
 * (close_wait, CLOSE-WAIT, time); then sort them. Those counted together stay last.
 */
export function arranged(groups: Group[], words: string, order: Order<Column>): Group[] {
  const wanted = wordsOf(words.replaceAll('-', '_'))
  const by = (group: Group): number | string => value(group, order.column)
  return groups
    .filter(group => wanted.every(word => matches(group, word)))
    .sort((a, b) => {
      const others = Number(a.port === 'other') - Number(b.port === 'other')
      if (others !== 0) return others
      const [x, y] = [by(a), by(b)]
      const sign = x < y ? -1 : x > y ? 1 : 0
      return (order.descending ? -sign : sign) || total(b) - total(a)
    })
}

function value(group: Group, column: Column): number | string {
  switch (column) {
    case 'direction':
      return group.direction
    case 'port':
      return group.port === 'other' ? Infinity : group.port
    case 'total':
      return total(group)
    case 'receive':
      return group.receive_queue_bytes
    case 'send':
      return group.send_queue_bytes
    default:
      return group.states[column] ?? 0
  }
}

function matches(group: Group, word: string): boolean {
  return (
    group.direction.startsWith(word) ||
    String(group.port).startsWith(word) ||
    STATES.some(state => state.startsWith(word) && (group.states[state] ?? 0) > 0)
  )
}
