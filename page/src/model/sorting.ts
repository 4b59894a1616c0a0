/** How a table is sorted and filtered by its reader. */

export interface Order<Column extends string> {
  column: Column
  descending: boolean
}

/** Clicking a column again turns it round; those that are not `ascending` begin with the largest. */
export const clicked = <Column extends string>(
  order: Order<Column>,
  column: Column,
  ascending: readonly Column[],
): Order<Column> => ({
  column,
  descending: order.column === column ? !order.descending : !ascending.includes(column),
})

/** The words of a filter, all of which must match. */
export const wordsOf = (filter: string): string[] => filter.toLowerCase().split(/\s+/).filter(Boolean)
