import { Fragment, type ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { count } from '../model/format'
import { clicked, type Order } from '../model/sorting'
import { sorted, type Row } from '../model/table'
import { say } from '../words'

export interface Column<Source> {
  name: string
  title: string
  /** The cell; numbers are shown as counts, zeros as dots. */
  cell?: (row: Row<Source>) => ComponentChildren
  isText?: boolean
  /** It is left out on phones. */
  isMinor?: boolean
}

interface Props<Source> {
  label: string
  rows: Row<Source>[]
  columns: Column<Source>[]
  first: string
  /** What an opened row shows; without it rows do not open. */
  inside?: (row: Row<Source>) => ComponentChildren
  rowName?: (row: Row<Source>) => ComponentChildren
  rowClass?: (row: Row<Source>) => string
  empty: string
}

/** So many rows are shown until all are asked for. */
const SHOWN = 12

/** A table that sorts by any column, and whose rows open. */
export function Grid<Source>({ label, rows, columns, first, inside, rowName, rowClass, empty }: Props<Source>) {
  const [order, setOrder] = useState<Order<string>>({ column: first, descending: true })
  const [opened, setOpened] = useState<string | null>(null)
  const [whole, setWhole] = useState(false)
  if (rows.length === 0) return <p class="empty">{empty}</p>
  const all = sorted(rows, order)
  const shown = whole ? all : all.slice(0, SHOWN)
  return (
    <>
      <div class="scroll" role="region" aria-label={say.tables.region(label)} tabIndex={0}>
        <table>
          <thead>
            <tr>
              {columns.map(({ name, title, isText = false, isMinor = false }) => (
                <th
                  key={name}
                  scope="col"
                  class={`${isText ? 'text' : ''} ${isMinor ? 'minor' : ''}`}
                  aria-sort={order.column === name ? (order.descending ? 'descending' : 'ascending') : 'none'}
                >
                  <button type="button" onClick={() => setOrder(clicked(order, name, ['name']))}>{title}</button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map(row => (
              <Fragment key={row.id}>
                <tr class={rowClass?.(row) ?? ''}>
                  <th scope="row">
                    {rowName?.(row) ?? (inside === undefined || row.isRest ? <Name row={row} /> : (
                      <button
                        type="button"
                        class="opener"
                        aria-expanded={row.id === opened}
                        onClick={() => setOpened(row.id === opened ? null : row.id)}
                      >
                        <Name row={row} />
                      </button>
                    ))}
                  </th>
                  {columns.slice(1).map(column => <Cell key={column.name} row={row} column={column} />)}
                </tr>
                {row.id === opened && inside !== undefined ? (
                  <tr class="inside"><td colSpan={columns.length}>{inside(row)}</td></tr>
                ) : null}
              </Fragment>
            ))}
          </tbody>
        </table>
      </div>
      {all.length > SHOWN ? (
        <button type="button" class="more" aria-expanded={whole} onClick={() => setWhole(!whole)}>
          {whole ? say.tables.first(count(SHOWN)) : say.tables.all(count(all.length))}
        </button>
      ) : null}
    </>
  )
}

const Name = <Source,>({ row: { name, kind } }: { row: Row<Source> }) => (
  <><bdi>{name}</bdi>{kind === undefined ? null : <small> {kind}</small>}</>
)

/** A zero is shown as a dot; screen readers get the number. */
function Cell<Source>({ row, column }: { row: Row<Source>; column: Column<Source> }) {
  const { name, cell, isText = false, isMinor = false } = column
  const minor = isMinor ? 'minor' : ''
  if (cell !== undefined) return <td class={`${isText ? 'text' : ''} ${minor}`}>{cell(row)}</td>
  const value = row.cells[name] ?? 0
  if (value === 0) return <td class={`zero ${minor}`}><span class="unseen">0</span></td>
  return <td class={`${isText ? 'text' : name} ${minor}`}>{typeof value === 'number' ? count(value) : value}</td>
}
