/** The tables: rows of any kind, which one filter and one order apply to. */

import { say } from '../words'
import { fullness } from './gauges'
import {
  STATES, type Group, type OwnerSockets, type PeerSockets, type PortEvents, type State, type UdpPort, type UnixQueue,
} from './message'
import { nameOf } from './states'
import { wordsOf, type Order } from './sorting'

type Counts = Partial<Record<State, number>>

/** A row: its name, its cells by column, and what else a filter finds it by. */
export interface Row<Source> {
  id: string
  name: string
  /** Smaller, after the name. */
  kind?: string
  cells: Record<string, number | string>
  states: Counts
  words: string
  /** It stands for many, and stays last. */
  isRest: boolean
  source: Source
}

export const sum = (states: Counts): number => Object.values(states).reduce((all, n) => all + n, 0)

/** Those that tell most come first. */
const ORDER: readonly State[] = [
  'established', 'close_wait', 'time_wait', 'fin_wait2', 'fin_wait1', 'syn_sent', 'syn_recv', 'last_ack', 'closing',
  'listen', 'close',
]

/** States that some row has: the others need no column. */
export const columns = (rows: { states: Counts }[]): State[] =>
  ORDER.filter(state => rows.some(row => (row.states[state] ?? 0) > 0))

/** The states of a row as a filter knows them: close_wait. */
const stateWords = (states: Counts): string =>
  STATES.filter(state => (states[state] ?? 0) > 0).map(nameOf).join(' ').toLowerCase()

const withStates = (states: Counts): Record<string, number> => ({ ...states, total: sum(states) })

/** How a group is called: a port, or the word for those that are counted together. */
export const portName = (port: Group['port']): string => (port === 'other' ? say.tables.other : String(port))

export const groupRows = (groups: Group[]): Row<Group>[] =>
  groups.filter(group => sum(group.states) > 0).map(group => ({
    id: `${group.direction} ${group.port}`,
    name: portName(group.port),
    kind: say.tables[group.direction],
    cells: {
      name: group.port === 'other' ? Infinity : group.port,
      ...withStates(group.states),
      receive: group.receive_queue_bytes,
      send: group.send_queue_bytes,
    },
    states: group.states,
    words: `${group.port} ${group.direction} ${say.tables[group.direction]} ${stateWords(group.states)}`,
    isRest: group.port === 'other',
    source: group,
  }))

export const ownerRows = (owners: OwnerSockets[]): Row<OwnerSockets>[] =>
  owners.filter(({ states }) => sum(states) > 0).map(its => {
    const isRest = its.owner === 'other'
    const name = isRest ? say.tables.unknownOwner : its.owner
    return {
      id: its.owner,
      name,
      cells: { name, ...withStates(its.states) },
      states: its.states,
      words: `${name.toLowerCase()} ${stateWords(its.states)}`,
      isRest,
      source: its,
    }
  })

export const peerRows = (peers: PeerSockets[]): Row<PeerSockets>[] =>
  peers.map(its => ({
    id: its.peer,
    name: its.peer,
    cells: { name: its.peer, ...withStates(its.states) },
    states: its.states,
    words: `${its.peer} ${stateWords(its.states)}`,
    isRest: false,
    source: its,
  }))

export const udpRows = (ports: UdpPort[]): Row<UdpPort>[] =>
  ports.map(its => ({
    id: String(its.port),
    name: String(its.port),
    cells: { name: its.port, sockets: its.sockets, receive: its.receive_queue_bytes, drops: its.drops },
    states: {},
    words: `${its.port} udp`,
    isRest: false,
    source: its,
  }))

const all = (counts: Record<string, number>): number => Object.values(counts).reduce((sum, n) => sum + n, 0)

export const eventRows = (ports: PortEvents[]): Row<PortEvents>[] =>
  ports.filter(its => its.opened + all(its.failed) + all(its.closed) + all(its.aborted) > 0).map(its => {
    const failed = all(its.failed)
    const aborted = all(its.aborted)
    return {
      id: `${its.direction} ${its.port}`,
      name: portName(its.port ?? 'other'),
      kind: say.tables[its.direction],
      cells: {
        name: its.port ?? Infinity,
        opened: its.opened,
        failed,
        here: its.closed['here'] ?? 0,
        there: its.closed['there'] ?? 0,
        both: its.closed['both'] ?? 0,
        aborted,
        total: its.opened + failed,
      },
      states: {},
      words: `${its.port ?? 'other'} ${its.direction} ${say.tables[its.direction]} ${Object.keys(its.failed).join(' ')}`,
      isRest: its.port === null,
      source: its,
    }
  })

export const unixRows = (queues: UnixQueue[]): Row<UnixQueue>[] =>
  queues.map(its => ({
    id: its.path,
    name: its.path,
    cells: { name: its.path, queue: its.queue, limit: its.limit, share: fullness(its) },
    states: {},
    words: `${its.path.toLowerCase()} unix`,
    isRest: false,
    source: its,
  }))

/** The rows in which every word is found, as the beginning of one of theirs or of an address. */
export function matching<Source>(rows: Row<Source>[], filter: string): Row<Source>[] {
  const wanted = wordsOf(filter.replaceAll('-', '_'))
  return wanted.length === 0 ? rows : rows.filter(row => {
    const its = row.words.replaceAll('-', '_')
    return wanted.every(word => /^\d+$/.test(word) ? its.split(/[\s.:]+/).some(part => part.startsWith(word)) : its.includes(word))
  })
}

/** Sorted by a column; those that stand for many stay last. */
export function sorted<Source>(rows: Row<Source>[], { column, descending }: Order<string>): Row<Source>[] {
  const by = ({ cells }: Row<Source>): number | string => cells[column] ?? 0
  return [...rows].sort((a, b) => {
    if (a.isRest !== b.isRest) return Number(a.isRest) - Number(b.isRest)
    const [x, y] = [by(a), by(b)]
    const sign = x < y ? -1 : x > y ? 1 : 0
    return (descending ? -sign : sign) || Number(b.cells['total'] ?? 0) - Number(a.cells['total'] ?? 0)
  })
}

/** What of a namespace's sockets is asked for. */
export interface Part {
  direction?: string
  port?: number
  owner?: string
  peer?: string
}

/** The ss command that lists a part; entry: what runs a command inside the namespace. */
export function listing(part: Part, entry: string): string | null {
  const filter = part.port !== undefined
    ? `'( ${part.direction === 'inbound' ? 'sport' : 'dport'} = :${part.port} )'`
    : part.peer !== undefined ? `dst ${part.peer.includes(':') ? `[${part.peer}]` : part.peer}` : null
  return filter === null ? null : inside(entry, `ss -tanpo ${filter}`)
}

const inside = (entry: string, command: string): string => [entry, command].filter(Boolean).join(' ')

/** The same of a UDP port; -m shows the drops: d in skmem. */
export const udpListing = (port: number, entry: string): string => inside(entry, `ss -uanpm '( sport = :${port} )'`)

/** The same of a Unix listener; a path that is shown shortened, or with odd bytes escaped, finds nothing. */
export const unixListing = (path: string, entry: string): string =>
  inside(entry, /^@?[\w./:+-]{1,127}$/.test(path) ? `ss -xlp src ${path}` : 'ss -xlp')
