/** RFC 9293, figure 5, laid out: the way a connection takes runs downwards. Units of the viewBox. */

import { say } from '../words'
import type { State } from './message'

export const SIZE = { width: 400, height: 604 }
export const NODE = { width: 116, height: 50 }

const [LEFT, MIDDLE, RIGHT] = [60, 200, 340] as const

/** Where each state's middle is. */
export const PLACES: Record<State, { x: number; y: number }> = {
  close: { x: MIDDLE, y: 28 },
  listen: { x: LEFT, y: 108 },
  syn_recv: { x: LEFT, y: 196 },
  syn_sent: { x: RIGHT, y: 196 },
  established: { x: MIDDLE, y: 286 },
  fin_wait1: { x: LEFT, y: 388 },
  close_wait: { x: RIGHT, y: 388 },
  fin_wait2: { x: LEFT, y: 482 },
  closing: { x: MIDDLE, y: 482 },
  last_ack: { x: RIGHT, y: 482 },
  time_wait: { x: MIDDLE, y: 572 },
}

export interface Edge {
  path: string
  label: keyof typeof say.states.edges
  x: number
  y: number
  anchor: 'start' | 'middle' | 'end'
}

const edge = (
  path: string,
  label: Edge['label'],
  x: number,
  y: number,
  anchor: Edge['anchor'] = 'start',
): Edge => ({ path, label, x, y, anchor })

/** Where a connection ends. */
export const END = { x: RIGHT, y: 572 }

/** Drawn to the border of the state they lead to. */
export const EDGES: Edge[] = [
  edge(`M142 28H${LEFT}V81`, 'listen', 66, 22),
  edge(`M258 28H${RIGHT}V169`, 'connect', 334, 22, 'end'),
  edge(`M${LEFT} 133V169`, 'syn', 67, 155),
  edge(`M${LEFT} 221V286H140`, 'ack', 67, 252),
  edge(`M${RIGHT} 221V286H260`, 'synack', 333, 252, 'end'),
  edge(`M282 196H120`, 'both', 200, 190, 'middle'),
  edge(`M180 311V336H${LEFT}V361`, 'here', 67, 331),
  edge(`M220 311V336H${RIGHT}V361`, 'peer', 333, 331, 'end'),
  edge(`M${LEFT} 413V455`, 'ack', 67, 438),
  edge(`M118 388H${MIDDLE}V455`, 'bothClose', 126, 382),
  edge(`M${RIGHT} 413V455`, 'here', 333, 438, 'end'),
  edge(`M${LEFT} 507V572H140`, 'peer', 67, 534),
  edge(`M${MIDDLE} 507V545`, 'ack', 207, 529),
  edge(`M${RIGHT} 507V560`, 'ack', 333, 548, 'end'),
  edge(`M258 572H326`, 'minute', 292, 566, 'middle'),
]
