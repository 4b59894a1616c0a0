/** All that the page says by itself, in English. Findings come from the daemon in the page's language. */

import type { Purpose, Severity, State } from '../model/message'
import type { Level } from '../model/verdict'

const s = (n: number): string => (n === 1 ? '' : 's')
const minutes = (seconds: number): string => (seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`)

/** What is to be known of a state; seconds: how long the kernel tries. */
export interface Explanation {
  means: string
  /** Who moves the connection to its next state. */
  mover: string
  next: string
  many: string
}

export interface Waits {
  finTimeout: number
  synRetries: number
  synSeconds: number
  synackRetries: number
  synackSeconds: number
}

export const en = {
  locale: 'en',
  own: 'English',
  comma: ', ',
  semicolon: '; ',
  stop: '.',
  /** Between two sentences. */
  space: ' ',
  colon: ': ',
  and: ' and ',
  bracketed: (text: string) => ` (${text})`,
  units: { d: 'd', h: 'h', m: 'm', s: 's', ms: 'ms', gap: ' ', less: '<1s' },

  head: {
    language: 'Language',
    colours: 'Colours',
    themes: { auto: 'auto', light: 'light', dark: 'dark' },
    zone: 'Time zone',
    server: (name: string) => `${name} (server)`,
    mine: (name: string) => `${name} (mine)`,
    skip: 'To the verdict',
    gone: 'gone',
  },
  status: {
    old: (age: string) => `What you see is ${age} old.`,
    again: 'Trying again.',
    againIn: (wait: string) => `Trying again in ${wait}.`,
    refused: 'sockmon refuses live updates to this page: too many pages are open, or it requires a login.',
    silent: 'The daemon does not answer.',
    paused: 'Paused in the background.',
    first: 'Waiting for the first poll.',
    stands: 'No poll has ended for a while.',
    reconnecting: 'Reconnecting.',
    live: (age: string, every: string) => `polled ${age} ago, every ${every}`,
    goneTitle: 'sockmon is gone.',
    oldTitle: 'Old data.',
    brokenTitle: 'Not understood.',
    broken: 'This page does not understand what the daemon sends: reload it.',
  },

  severity: { warning: 'warning', critical: 'critical' } as Record<Severity, string>,
  level: { ok: 'healthy', warning: 'warning', critical: 'critical', unknown: 'not known' } as Record<Level, string>,
  alert: { pending: 'pending', firing: 'firing', resolved: 'resolved' },
  sockets: (n: string, one: boolean) => `${n} TCP socket${one ? '' : 's'}`,
  inNamespaces: (sockets: string, n: number) => `${sockets} in ${n} network namespace${s(n)}`,
  onThisHost: 'on this host',

  verdict: {
    healthy: 'The sockets are healthy',
    healthyAll: 'The sockets are healthy in every network namespace',
    noTrouble: 'no leak, no full queue, no limit near',
    asFar: ', as far as could be read',
    partial: 'Nothing wrong was found, but not everything could be read',
    again: (n: number) => `Healthy again; ${n} alert${s(n)} still ${n === 1 ? 'fires' : 'fire'} for a while.`,
    clause: (who: string, does: string) => `${who} ${does}`,
    names: (names: string[], more: number) =>
      more > 0 ? `${names.join(', ')} and ${more} more` : names.join(' and '),
    services: (n: number, does: string) => `${n} services ${does}`,
    others: (n: number) => `${n} more problem${s(n)}`,
    deadline: (what: string, left: string) => `${what} in ${left}`,
    overdue: (what: string) => `${what} now`,
    where: (text: string, netns: string) => `${text}, in ${netns}`,
    troubled: (n: number, first: string) => `Trouble in ${n} network namespaces: ${first}`,
    counts: (critical: number, warnings: number) =>
      [critical > 0 ? `${critical} critical` : '', warnings > 0 ? `${warnings} warning${s(warnings)}` : '']
        .filter(Boolean).join(', '),
    notJudged: (names: string) => `Not judged: ${names}.`,
    outside: 'Seen from outside: counted, not diagnosed',
    outsideWhy: (sockets: string) =>
      `${sockets}. sockmon may not enter this namespace: the ages and owners of its sockets are not known.`,
    none: 'No poll has succeeded yet',
    noneFor: (age: string) => `No poll has succeeded for ${age}`,
    unreadHost: 'The sockets of this host could not be read',
    unreadNamespace: 'The sockets of this namespace could not be read',
    unreadWhy: (since: string) => `${since}: nothing is known about them.`,
    unjudged: 'Sockets are counted, but could not be judged',
    unjudgedWhy: (sockets: string) => `${sockets}. Whether they are healthy is not known.`,
    notRead: 'Not read in the last poll',
    failing: 'What else fails in sockmon',
    hidden: (n: number) =>
      `${n} process${n === 1 ? '' : 'es'} of other users could not be inspected: owners may be missing. ` +
      'Root, or CAP_SYS_PTRACE with CAP_DAC_READ_SEARCH, sees them all.',
    showMore: 'What would show more',
    partialHost: (among: string, n: number, healthy: string) =>
      `${among}. ${n} of these could not be judged completely; in the others ${healthy}.`,
    numbersOld: (age: string, beat: string) => `These numbers are ${age} old: this namespace is polled ${beat}.`,
    restOld: (age: string, beat: string) =>
      `Sockets at rest were counted ${age} ago: so large a table is read completely ${beat}. States that can mean trouble are read at every poll.`,
    failedSince: (age: string) => `These numbers are ${age} old: reading failed since then.`,
    beat: (every: string) => `about every ${every}, to keep within poll.cpu_budget`,
    absent: ['There is no network namespace ', ' now'] as [string, string],
    absentWhy: 'It has ended, or has no sockets.',
    absentLink: 'Show the host’s own instead.',
    neighbours: {
      lead: 'Network namespaces besides the host’s own: ',
      inside: (n: string) => `${n} polled`,
      outside: (n: string) => `${n} counted from outside`,
      empty: (n: string) => `${n} without sockets`,
      hidden: (n: string) => `${n} not visible`,
      alone: 'This host has no other network namespace.',
    },
  },

  finding: {
    list: 'Findings',
    purposes: { stop: 'Stop the bleeding', fix: 'Find the bug', look: 'Evidence' } as Record<Purpose, string>,
    mustAct: (who: string) => `must act: ${who}`,
    port: (port: number, inbound: boolean) => (inbound ? `port ${port} here` : `remote port ${port}`),
    pid: (pid: number) => `PID ${pid}`,
    now: 'now',
    oldest: 'oldest',
    growth: 'a minute',
    notGrowing: 'not growing',
    fails: 'until it fails',
    failsNow: 'now',
    alert: 'alert',
    alertFor: (state: string, age: string) => `${state} for ${age}`,
    alertAs: (severity: string) => `as ${severity}`,
    because: (why: string) => `Critical because ${why}.`,
    lastHour: 'last hour',
    descriptors: 'file descriptors',
    ofLimit: (used: string, limit: string, share: string) => `${used} of ${limit} (${share})`,
    heldBy: 'held by',
    none: 'none',
    runbook: 'Runbook',
    causedBy: 'caused by the finding above',
    copy: 'copy',
    copied: 'copied',
    selected: 'press Ctrl+C',
    copyLabel: 'Copy the command',
    onPeer: 'on the peer',
    changes: 'changes the system',
    perSecond: (n: string) => `${n} a second`,
    perMinute: (n: string) => `${n} a minute`,
  },

  past: {
    title: 'Connections by state',
    range: (from: string, to: string, zone: string) => `${from} to ${to} ${zone}`,
    span: 'Time span',
    spans: { '15m': '15 m', '1h': '1 h', '6h': '6 h', '24h': '24 h' },
    scale: 'Scale',
    linear: 'linear',
    log: 'log',
    reset: 'Show all again',
    hint: 'drag to zoom',
    loading: 'Loading the history.',
    plot: 'Sockets by state over time; the values are in the list below. Arrow keys move the cursor.',
    atZero: (n: number) => `+ ${n} state${s(n)} at zero`,
    legend: 'States: show or hide',
    noHistory: 'No stored history for this namespace (history memory is full). The plot starts when you opened this page.',
    minute: 'One value a minute, the highest. With many namespaces, every poll is kept only from the first finding on.',
    tenMinutes: 'One value every ten minutes, the highest, because there are many namespaces.',
    short: (age: string) => `${age} of history`,
    changes: (n: number) => `Alerts in this time: ${n}`,
    elsewhere: (n: number) => `${n} alert${s(n)} in other namespaces.`,
    nowSeverity: (severity: string) => `now ${severity}`,
    after: (age: string) => `after ${age}`,
    held: 'no longer found, still firing for a while',
    mark: { resolved: 'resolved' },
  },

  limits: {
    title: 'Limits',
    ports: 'Local ports',
    timeWait: 'TIME_WAIT table',
    accept: 'Fullest accept queue',
    orphans: 'Orphans (host-wide)',
    memory: 'TCP memory (host-wide)',
    conntrack: 'Connection tracking',
    unreadable: 'could not be read',
    pressure: (from: string) => `pressure from ${from}`,
    of: (value: string, limit: string) => `${value} of ${limit}`,
    towards: (end: string) => `towards ${end}`,
    steady: 'steady', full: 'all in use',
    fullIn: (left: string) => `full in ${left}`,
    port: (port: number) => `port ${port}`,
    dropped: (n: string) => `${n} dropped`,
  },

  ages: {
    title: 'Age of CLOSE_WAIT sockets',
    range: (from: string, to: string) => `${from} to ${to}`,
    upTo: (to: string) => `up to ${to}`,
    over: (from: string) => `over ${from}`,
    oldest: (age: string) => `The oldest has waited ${age}.`,
    note: 'A healthy application closes within seconds.',
    stale: (age: string) => `After ${age} (in full colour) a socket is stale, unless it still sends data.`,
    unread: 'Ages could not be read.',
  },

  tables: {
    title: 'Who has the sockets',
    tabs: {
      owner: 'By service', port: 'By port', peer: 'By peer', netns: 'By namespace', events: 'Opened and closed', udp: 'UDP',
      unix: 'Unix',
    },
    filter: 'Filter all tables by name, port, address, direction or state',
    placeholder: 'name, port, address, state',
    found: (n: string, all: string) => `${n} of ${all}`,
    nothing: 'Nothing matches.',
    noSockets: 'There is no TCP socket.',
    unread: 'Could not be read.',
    loading: 'Loading.',
    waits: 'The next poll shows them.',
    region: (tab: string) => `Table: ${tab}`,
    owner: 'service', port: 'port', direction: 'direction', peer: 'peer', ports: 'ports', total: 'total',
    unreadBytes: 'Recv-Q', unsentBytes: 'Send-Q', netns: 'namespace', verdict: 'verdict', counted: 'counted',
    lastHour: 'last hour', sockets: 'sockets', drops: 'dropped', path: 'path', queue: 'waiting', limit: 'limit',
    inbound: 'inbound', outbound: 'outbound', other: 'other', unknownOwner: 'no service known',
    portsNote: 'inbound: connections that came in, by the port served here. outbound: connections this host made, by the port there.',
    foldedNote: (n: string, shown: string) => `${n} smaller groups are counted together as “other”, besides the ${shown} largest.`,
    ownersNote: 'systemd units and containers, by the cgroup of each socket. The kernel tells none of sockets in TIME_WAIT.',
    estimated: (n: string) => `Estimates: one socket in ${n} was looked at.`,
    opened: 'opened', failed: 'failed', closedHere: 'closed here first', closedThere: 'closed there first',
    closedBoth: 'both at once', aborted: 'aborted', reasons: 'Failed', abortedBy: 'Aborted by', why: (word: string) => word.replaceAll('_', ' '),
    eventsNote: (since: string) => `Since ${since}, connections between two polls included.`,
    timeToClose: 'Time to close, after the other end has closed',
    timeToCloseNote:
      'All ports. Up to 40 ms may be the delayed ACK: Linux waits that long before it acknowledges a FIN. After 60 s (in full colour) such a socket counts as stale.',
    udpNote: 'By local port. Dropped: since each socket was made.',
    unixNote: 'Accept queues in which a connection has waited in the last ten minutes.',
    all: (n: string) => `Show all ${n}`,
    first: (n: string) => `Show the first ${n}`,
    leftOut: (n: number) => `${n} more namespace${s(n)}, smaller and without findings, ${n === 1 ? 'is' : 'are'} not listed.`,
    open: (name: string) => `Details of ${name}`,
    states: 'States', ages: 'Ages', peers: 'Peers', services: 'Services', history: 'Over time', list: 'List them',
    now: 'now', ago: (age: string) => `${age} ago`,
    notPolled: 'not polled yet', unreadable: 'could not be read', counts: 'counted, could not be judged',
    outside: 'seen from outside: counted, not diagnosed',
    partly: 'nothing wrong found, not everything could be read',
    more: (text: string, n: number) => `${text}, and ${n} more`,
  },

  states: {
    fold: 'What do these states mean?',
    title: 'Sockets by TCP state',
    node: (name: string, n: string, one: boolean) => `${name} ${n} ${one ? 'socket' : 'sockets'}`,
    unknown: (name: string) => `${name} –, not known`,
    acts: 'Who acts next', many: 'If there are many', here: 'Here',
    notKnown: 'Not known.', none: 'None.',
    count: (n: string, one: boolean) => `${n} socket${one ? '' : 's'}.`,
    older: (n: string, age: string) => `${n} for more than ${age}.`,
    clientsOf: (n: string, port: string) => `${n} clients of ${port}`,
    towards: (n: string, port: string) => `${n} towards ${port}`,
    portNumber: (port: number) => `port ${port}`, otherPorts: 'other ports',
    edges: {
      listen: 'listen()', connect: 'connect()', syn: 'SYN comes', ack: 'ACK comes', synack: 'SYN+ACK comes',
      both: 'both at once', here: 'this host closes', peer: 'the peer closes', bothClose: 'both close',
      minute: '60 s', gone: 'gone',
    },
    explain: (its: Waits): Record<State, Explanation> => ({
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
        next: `It answers, or refuses; after about ${minutes(its.synSeconds)} (tcp_syn_retries is ${its.synRetries}) the kernel gives up.`,
        many: 'The remote host does not answer: it is down, a firewall drops the packets, or its queue is full.',
      },
      syn_recv: {
        means: 'A client has sent a SYN, this host has answered, and the client must confirm.',
        mover: 'The client',
        next: `It confirms within a round trip; after about ${minutes(its.synackSeconds)} (tcp_synack_retries is ${its.synackRetries}) the kernel gives up.`,
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
        next: `It closes. If no process here holds the socket, the kernel drops it after ${its.finTimeout} s (tcp_fin_timeout).`,
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
    }),
  },

  foot: {
    metrics: 'metrics', observation: 'observation', alerts: 'alerts', history: 'history', runbooks: 'runbooks',
  },
}

export type Words = typeof en
