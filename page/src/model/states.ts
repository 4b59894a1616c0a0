/** The eleven states for people: whose move it is, and what to make of many of them (RFC 9293). */

import type { Namespace, Settings, State } from './message'

export interface Explanation {
  name: string
  means: string
  /** Who takes the connection on to its next state. */
  mover: string
  next: string
  many: string
}

const minutes = (tries: number): string => {
  const seconds = 2 ** (tries + 1) - 1 // 1 s, doubled at each try (RFC 6298)
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`
}

export function explanation(state: State, settings: Settings | null): Explanation {
  const { fin_timeout, syn_retries, synack_retries } = settings ?? {
    fin_timeout: 60,
    syn_retries: 6,
    synack_retries: 5,
  }
  const all: Record<State, Explanation> = {
    close: {
      name: 'CLOSED',
      means: 'A socket that exists and is not connected: bound to a port, perhaps.',
      mover: 'The application',
      next: 'It calls connect() or listen(), or lets go of it.',
      many: 'Many hold ports by bind() that no connect() can have.',
    },
    listen: {
      name: 'LISTEN',
      means: 'A server waits for connections here.',
      mover: 'The application',
      next: 'It accepts what arrives; it stops listening when it closes.',
      many: 'One for each address and port served. Workers may have one each.',
    },
    syn_sent: {
      name: 'SYN-SENT',
      means: 'This host has asked for a connection and waits for the first answer.',
      mover: 'The remote host',
      next: `It answers, or refuses; after about ${minutes(syn_retries)} (tcp_syn_retries is ${syn_retries}) the kernel gives up.`,
      many: 'Nobody answers there: the host is down, a firewall drops, or its queue is full.',
    },
    syn_recv: {
      name: 'SYN-RECV',
      means: 'A client has knocked, this host has answered, and the client must confirm.',
      mover: 'The client',
      next: `It confirms within a round trip; after about ${minutes(synack_retries)} (tcp_synack_retries is ${synack_retries}) the kernel forgets it.`,
      many: 'A flood of SYNs, or answers that do not get back to the clients.',
    },
    established: {
      name: 'ESTABLISHED',
      means: 'The connection is open, and both sides may send.',
      mover: 'Either application',
      next: 'Whoever is done closes first.',
      many: 'Normal: it is what connections are for.',
    },
    fin_wait1: {
      name: 'FIN-WAIT-1',
      means: 'This host has closed and waits for the peer to acknowledge it.',
      mover: 'The peer’s kernel',
      next: 'Its acknowledgement takes a round trip.',
      many: 'The path has died, or the peer takes no more data.',
    },
    fin_wait2: {
      name: 'FIN-WAIT-2',
      means: 'This host has closed, the peer knows, and has not closed its own side yet.',
      mover: 'The peer’s application',
      next: `It closes. If no process here holds the socket, the kernel drops it after ${fin_timeout} s (tcp_fin_timeout).`,
      many: 'The peer leaks: there these are in CLOSE-WAIT.',
    },
    closing: {
      name: 'CLOSING',
      means: 'Both sides have closed at once; the acknowledgement is on its way.',
      mover: 'The peer’s kernel',
      next: 'Its acknowledgement takes a round trip.',
      many: 'Rare. If they stay, the path has died.',
    },
    time_wait: {
      name: 'TIME-WAIT',
      means: 'This host closed first, all is done, and the port rests, so that late segments harm nobody.',
      mover: 'Time',
      next: 'After 60 s it is gone. The kernel keeps it; no process does.',
      many: 'Normal where connections are short. They cost little, but towards one destination they use up ports.',
    },
    close_wait: {
      name: 'CLOSE-WAIT',
      means: 'The peer has closed; the application on this host has not.',
      mover: 'The application on this host',
      next: 'It calls close(). Nothing else ends it: the kernel waits for ever.',
      many: 'A leak, if they are old. Each holds a file descriptor until the application can open no more.',
    },
    last_ack: {
      name: 'LAST-ACK',
      means: 'The peer closed, then this host; the last acknowledgement is on its way.',
      mover: 'The peer’s kernel',
      next: 'Its acknowledgement takes a round trip.',
      many: 'The path has died, or the peer is gone.',
    },
  }
  return all[state]
}

/** All TCP sockets by state, both families together; null: not known. */
export function totals(namespace: Namespace): Record<State, number> | null {
  if (namespace.tcp === null) return null
  const sum = {} as Record<State, number>
  for (const counts of Object.values(namespace.tcp)) {
    if (typeof counts === 'number') continue
    for (const [state, n] of Object.entries(counts)) {
      sum[state as State] = (sum[state as State] ?? 0) + n
    }
  }
  return sum
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
