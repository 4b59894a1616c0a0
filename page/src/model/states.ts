/** The eleven states for people: who acts next, and what many of them mean (RFC 9293). */

import { say } from '../words'
import type { Explanation } from '../words/en'
import { count } from './format'
import { STATES, type Namespace, type Settings, type State } from './message'

/** CLOSE_WAIT: as netstat and the kernel's source spell it. */
export const nameOf = (state: State): string => state.toUpperCase()

/** Those that the kernel waits for after so many retries: 1 s, doubled at each try (RFC 6298). */
const waited = (tries: number): number => 2 ** (tries + 1) - 1

export function explanation(
  state: State,
  settings: Pick<Settings, 'fin_timeout' | 'syn_retries' | 'synack_retries'> | null,
): Explanation {
  const { fin_timeout, syn_retries, synack_retries } = settings ?? {
    fin_timeout: 60,
    syn_retries: 6,
    synack_retries: 5,
  }
  return say.states.explain({
    finTimeout: fin_timeout,
    synRetries: syn_retries,
    synSeconds: waited(syn_retries),
    synackRetries: synack_retries,
    synackSeconds: waited(synack_retries),
  })[state]
}

/** All TCP sockets by state, both families together; null: not known. */
export function totals({ tcp }: Namespace): Record<State, number> | null {
  if (tcp === null) return null
  const sum = (state: State): number => (tcp.ipv4?.[state] ?? 0) + (tcp.ipv6?.[state] ?? 0)
  return Object.fromEntries(STATES.map(state => [state, sum(state)])) as Record<State, number>
}

/** Where a state's sockets are: the largest groups first. */
export function whereAbouts(namespace: Namespace, state: State, most = 3): string[] {
  const { clientsOf, towards, portNumber, otherPorts } = say.states
  return (namespace.ports?.groups ?? [])
    .map(({ direction, port, states }) => ({ direction, port, sockets: states[state] ?? 0 }))
    .filter(({ sockets }) => sockets > 0)
    .sort((a, b) => b.sockets - a.sockets)
    .slice(0, most)
    .map(({ direction, port, sockets }) => {
      const where = port === 'other' ? otherPorts : portNumber(port)
      return (direction === 'inbound' ? clientsOf : towards)(count(sockets), where)
    })
}
