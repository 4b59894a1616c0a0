/** The eleven states for people: who acts next, and what many of them mean (RFC 9293). */

import { STATES, type Namespace, type Settings, type State } from './message'

/** CLOSE_WAIT: as netstat and the kernel's source spell it. */
export const nameOf = (state: State): string => state.toUpperCase()

export interface Explanation {
  means: string
  /** Who moves the connection to its next state. */
  mover: string
  next: string
  many: string
}

const minutes = (tries: number): string => {
  const seconds = 2 ** (tries + 1) - 1 // 1 s, doubled at each try (RFC 6298)
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`
}

export function explanation(
  state: State,
  settings: Pick<Settings, 'fin_timeout' | 'syn_retries' | 'synack_retries'> | null,
): Explanation {
  const { fin_timeout, syn_retries, synack_retries } = settings ?? {
    fin_timeout: 60,
    syn_retries: 6,
    synack_retries: 5,
  }
  const all: Record<State, Explanation> = {
    close: {
      means: 'The socket exists and is not connected; it may be bound to a port.',
      mover: 'The application',
      next: 'It calls connect() or listen(), or closes the socket.',
      many: 'Each may hold a port by bind() that connect() cannot use.',
    },
    listen: {
      means: 'A server waits for connections here.',
      mover: 'The application',
      next: 'It accepts what arrives; it stops listening when it closes.',
      many: 'One for each address and port served. Workers may have one each.',
    },
    syn_sent: {
      means: 'This host has sent a SYN and waits for the answer.',
      mover: 'The remote host',
      next: `It answers, or refuses; after about ${minutes(syn_retries)} (tcp_syn_retries is ${syn_retries}) the kernel gives up.`,
      many: 'The remote host does not answer: it is down, a firewall drops the packets, or its queue is full.',
    },
    syn_recv: {
      means: 'A client has sent a SYN, this host has answered, and the client must confirm.',
      mover: 'The client',
      next: `It confirms within a round trip; after about ${minutes(synack_retries)} (tcp_synack_retries is ${synack_retries}) the kernel gives up.`,
      many: 'A SYN flood, or answers that do not reach the clients.',
    },
    established: {
      means: 'The connection is open, and both sides may send.',
      mover: 'Either application',
      next: 'The side that is finished first closes.',
      many: 'Normal: these connections are in use.',
    },
    fin_wait1: {
      means: 'This host has closed and waits for the peer to acknowledge it.',
      mover: 'The peer’s kernel',
      next: 'Its acknowledgement takes a round trip.',
      many: 'The path is broken, or the peer reads no more data.',
    },
    fin_wait2: {
      means: 'This host has closed, and the peer’s kernel knows; the peer has not closed its side yet.',
      mover: 'The peer’s application',
      next: `It closes. If no process here holds the socket, the kernel drops it after ${fin_timeout} s (tcp_fin_timeout).`,
      many: 'The peer’s application leaks: on the peer they are in CLOSE_WAIT.',
    },
    closing: {
      means: 'Both sides closed at the same time; the acknowledgement has not arrived yet.',
      mover: 'The peer’s kernel',
      next: 'Its acknowledgement takes a round trip.',
      many: 'Rare. If they stay, the path is broken.',
    },
    time_wait: {
      means: 'This host closed first, and the connection is finished. The kernel reserves its ports for a while, so that late segments cannot reach a new connection.',
      mover: 'Time',
      next: 'After 60 s it is gone. The kernel holds it; no process does.',
      many: 'Normal where connections are short. They cost little, but towards one destination they can use up the local ports.',
    },
    close_wait: {
      means: 'The peer has closed; the application on this host has not.',
      mover: 'The application on this host',
      next: 'It calls close(). Nothing else ends this state: the kernel has no timeout for it.',
      many: 'If they are old, a leak: each holds a file descriptor, until the application can open no more.',
    },
    last_ack: {
      means: 'The peer closed, then this host; the last acknowledgement has not arrived yet.',
      mover: 'The peer’s kernel',
      next: 'Its acknowledgement takes a round trip.',
      many: 'The path is broken, or the peer is gone.',
    },
  }
  return all[state]
}

/** All TCP sockets by state, both families together; null: not known. */
export function totals({ tcp }: Namespace): Record<State, number> | null {
  if (tcp === null) return null
  const sum = (state: State): number => (tcp.ipv4?.[state] ?? 0) + (tcp.ipv6?.[state] ?? 0)
  return Object.fromEntries(STATES.map(state => [state, sum(state)])) as Record<State, number>
}

/** Where a state's sockets are: the largest groups first. */
export function whereAbouts(
  namespace: Namespace,
  state: State,
  most = 3,
): { place: string; sockets: number }[] {
  return (namespace.ports?.groups ?? [])
    .map(group => ({
      place: `${group.direction === 'inbound' ? 'clients of' : 'towards'} ${group.port === 'other' ? 'other ports' : `port ${group.port}`}`,
      sockets: group.states[state] ?? 0,
    }))
    .filter(({ sockets }) => sockets > 0)
    .sort((a, b) => b.sockets - a.sockets)
    .slice(0, most)
}
