import { useState } from 'preact/hooks'
import { bytes, count, plural } from '../model/format'
import type { Group, Namespace } from '../model/message'
import type { Order } from '../model/sorting'
import { nameOf } from '../model/states'
import { arranged, ASCENDING, columns, total, type Column } from '../model/table'
import { Filter, Heading } from './sorting'

export function StateTable({ namespace }: { namespace: Namespace }) {
  const [words, setWords] = useState('')
  const [order, setOrder] = useState<Order<Column>>({ column: 'total', descending: true })
  const ports = namespace.ports
  const groups = ports?.groups ?? []
  const states = columns(groups)
  const rows = arranged(groups, words, order)
  const heading = (column: Column, text: string) => (
    <Heading {...{ column, text, order, setOrder }} ascending={ASCENDING} isText={column === 'direction'} />
  )
  return (
    <section class="card ports" aria-labelledby="ports">
      <div class="heading">
        <h2 id="ports">Ports by state</h2>
        <Filter
          label="Filter by port, direction or state"
          placeholder="443, inbound, close_wait"
          {...{ words, setWords }}
          found={rows.length}
          all={groups.length}
        />
      </div>
      {ports === null ? (
        <p class="empty">Ports could not be read.</p>
      ) : rows.length === 0 ? (
        <p class="empty">{words ? 'Nothing matches.' : 'There is no TCP socket.'}</p>
      ) : (
        <div class="scroll" role="region" aria-label="Table of ports" tabIndex={0}>
          <table>
            <thead>
              <tr>
                {heading('port', 'port')}
                {heading('direction', 'direction')}
                {heading('total', 'total')}
                {states.map(state => heading(state, nameOf(state)))}
                {heading('receive', 'unread')}
                {heading('send', 'unsent')}
              </tr>
            </thead>
            <tbody>
              {rows.map(group => (
                <tr key={`${group.direction}${group.port}`}>
                  <th scope="row">{group.port}</th>
                  <td class="text">{group.direction}</td>
                  <Cell n={total(group)} text={count} kind="total" />
                  {states.map(state => <Cell key={state} n={group.states[state] ?? 0} text={count} kind={state} />)}
                  <Cell n={group.receive_queue_bytes} text={bytes} kind="bytes" />
                  <Cell n={group.send_queue_bytes} text={bytes} kind="bytes" />
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <p class="note">
        inbound: connections that came in, by the port served here. outbound: connections this host
        made, by the port there.{ports?.folded ? ` ${folded(ports.folded, groups)}` : ''}
      </p>
    </section>
  )
}

const folded = (n: number, groups: Group[]): string =>
  `${plural(n, 'smaller group')} ${n === 1 ? 'is' : 'are'} counted together as “other”, besides the ${count(groups.length)} largest.`

/** A zero is shown as a dot; screen readers get the number. */
export function Cell({ n, text, kind }: { n: number; text: (n: number) => string; kind: string }) {
  if (n === 0) return <td class="zero"><span class="unseen">0</span></td>
  return <td class={kind}>{text(n)}</td>
}
