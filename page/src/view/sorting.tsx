import { count } from '../model/format'
import { clicked, type Order } from '../model/sorting'

/** How a table is sorted, and how to change that. */
export interface Sorting<Column extends string> {
  order: Order<Column>
  setOrder: (order: Order<Column>) => void
  ascending: readonly Column[]
}

/** The heading of a column, which sorts the table. */
export function Heading<Column extends string>(
  props: Sorting<Column> & { column: Column; text: string; isText: boolean },
) {
  const { column, text, isText, order, setOrder, ascending } = props
  return (
    <th
      scope="col"
      class={isText ? 'text' : ''}
      aria-sort={order.column === column ? (order.descending ? 'descending' : 'ascending') : 'none'}
    >
      <button type="button" onClick={() => setOrder(clicked(order, column, ascending))}>{text}</button>
    </th>
  )
}

/** A field for words that rows must match, and how many do. */
export function Filter(props: {
  label: string
  placeholder: string
  words: string
  setWords: (words: string) => void
  found: number
  all: number
}) {
  const { label, placeholder, words, setWords, found, all } = props
  return (
    <>
      <input
        type="search"
        placeholder={placeholder}
        aria-label={label}
        value={words}
        onInput={event => setWords(event.currentTarget.value)}
      />
      <span class="note" role="status">{words ? `${count(found)} of ${count(all)}` : ''}</span>
    </>
  )
}
