import { count } from '../model/format'
import type { Namespace, OwnerSockets, State } from '../model/message'
import { nameOf } from '../model/states'
import { columns, sum } from '../model/table'
import { Cell } from './table'

/** The table of units and containers by state, those with most sockets first. */
export function Owners({ namespace }: { namespace: Namespace }) {
  const owners = (namespace.owners?.owners ?? []).filter(its => sum(its.states) > 0)
  const states = columns(owners)
  if (owners.length === 0) return null
  return (
    <section class="card ports" aria-labelledby="owners">
      <h2 id="owners">Owners by state</h2>
      <div class="scroll" role="region" aria-label="Table of owners" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col" class="text">owner</th>
              <th scope="col">total</th>
              {states.map(state => <th key={state} scope="col">{nameOf(state)}</th>)}
            </tr>
          </thead>
          <tbody>
            {owners.map(its => <Row key={its.owner} {...{ its, states }} />)}
          </tbody>
        </table>
      </div>
      <p class="note">
        systemd units and containers, as the kernel tells them of each socket. other: all others, and
        sockets that the kernel tells none of, such as those in {nameOf('time_wait')}.
      </p>
    </section>
  )
}

function Row({ its, states }: { its: OwnerSockets; states: State[] }) {
  return (
    <tr>
      <th scope="row"><bdi>{its.owner}</bdi></th>
      <Cell n={sum(its.states)} text={count} kind="total" />
      {states.map(state => <Cell key={state} n={its.states[state] ?? 0} text={count} kind={state} />)}
    </tr>
  )
}
