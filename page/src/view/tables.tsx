import { useContext, useState } from 'preact/hooks'
import { bytes, count, duration, percent } from '../model/format'
import type { Listed } from '../model/host'
import { nameOf as whose } from '../model/findings'
import type { Group, Namespace, Observation, OwnerSockets, PeerSockets, Process, State } from '../model/message'
import { linkTo, rowsOf } from '../model/namespaces'
import { nameOf } from '../model/states'
import {
  columns, eventRows, groupRows, matching, ownerRows, peerRows, udpListing, udpRows, unixListing, unixRows, type Row,
} from '../model/table'
import { clock } from '../model/time'
import { say } from '../words'
import { TimeToClose } from './closing'
import { Glyph } from './glyph'
import { goToDetails } from './going'
import { Grid, type Column } from './grid'
import { List, Listing, Parts } from './parts'
import type { RecentOfGroup } from './recent'
import { useSockets } from './sockets'
import { Spark } from './spark'
import { InZone } from './time'

type Tab = keyof typeof say.tables.tabs

interface Props {
  namespace: Namespace
  all: Listed[]
  observation: Observation
  recentOf: RecentOfGroup
}

/** Who has the sockets: by service, port, peer and namespace; one filter for all of them. */
export function Tables(props: Props) {
  const { namespace, all, observation } = props
  const [chosen, setChosen] = useState<Tab | null>(null)
  const [words, setWords] = useState('')
  const everyone = useSockets(namespace.netns, {}, observation.taken_at)
  const owners = ownerRows(namespace.owners?.owners ?? [])
  const found = {
    owner: matching(owners, words),
    port: matching(groupRows(namespace.ports?.groups ?? []), words),
    peer: matching(peerRows(everyone?.peers ?? []), words),
    netns: matching(rowsOf(all), words),
    events: matching(eventRows(namespace.connection_events?.ports ?? []), words),
    udp: matching(udpRows(namespace.udp_ports), words),
    unix: matching(unixRows(namespace.unix_queues ?? []), words),
  }
  const tabs = (Object.keys(found) as Tab[]).filter(tab =>
    tab === 'netns' ? all.length > 1
    : tab === 'owner' ? owners.some(({ isRest }) => !isRest)
    : tab === 'events' ? (namespace.connection_events?.ports ?? []).length > 0
    : tab === 'udp' ? namespace.udp_ports.length > 0
    : tab === 'unix' ? (namespace.unix_queues ?? []).length > 0
    : true)
  const full = tabs.find(each => found[each].length > 0) ?? tabs[0] ?? 'port'
  const tab = chosen !== null && tabs.includes(chosen) ? chosen : full
  return (
    <section class="card tables" aria-labelledby="tables">
      <h2 id="tables" class="unseen">{say.tables.title}</h2>
      <div class="heading">
        <div class="choice tabs" role="group" aria-labelledby="tables">
          {tabs.map(each => (
            <button type="button" key={each} aria-pressed={each === tab} onClick={() => setChosen(each)}>
              {say.tables.tabs[each]}{words ? <small> {count(found[each].length)}</small> : null}
            </button>
          ))}
        </div>
        <input
          type="search"
          placeholder={say.tables.placeholder}
          aria-label={say.tables.filter}
          value={words}
          onInput={event => setWords(event.currentTarget.value)}
        />
        <span class="unseen" role="status">{words ? `${say.tables.tabs[tab]}${say.colon}${count(found[tab].length)}` : ''}</span>
      </div>
      <Table key={tab} {...{ ...props, tab, found, words }} isLoading={everyone === null} oneIn={everyone?.one_in ?? 1} />
    </section>
  )
}

interface Found {
  owner: Row<OwnerSockets>[]
  port: Row<Group>[]
  peer: Row<PeerSockets>[]
  netns: ReturnType<typeof rowsOf>
  events: ReturnType<typeof eventRows>
  udp: ReturnType<typeof udpRows>
  unix: ReturnType<typeof unixRows>
}

function Table(props: Props & { tab: Tab; found: Found; words: string; isLoading: boolean; oneIn: number }) {
  const { tab, found, words, namespace, observation, recentOf, isLoading, oneIn } = props
  const its = say.tables
  const label = its.tabs[tab]
  const empty = words ? its.nothing : its.noSockets
  const { netns, entry } = namespace
  const inside = { netns, entry, observation }
  switch (tab) {
    case 'owner':
      return (
        <>
          <Grid
            {...{ label, empty }} first="total" rows={found.owner}
            columns={[named(its.owner), ...counted<OwnerSockets>(found.owner)]}
            inside={row => <Parts {...inside} part={{ owner: row.source.owner }} recent={null} />}
          />
          <p class="note">{its.ownersNote}</p>
        </>
      )
    case 'port': {
      const folded = namespace.ports?.folded ?? 0
      return (
        <>
          <Grid
            {...{ label }} empty={namespace.ports === null ? its.unread : empty} first="total" rows={found.port}
            columns={[
              named(its.port),
              ...counted<Group>(found.port),
              ...queues(found.port),
              ...sparks(found.port, recentOf),
            ]}
            inside={({ source: { direction, port } }) => port === 'other' ? null : (
              <Parts {...inside} part={{ direction, port }} recent={recentOf(direction, port)} />
            )}
          />
          <p class="note">{its.portsNote}{folded ? `${say.space}${its.foldedNote(count(folded), count(found.port.length))}` : ''}</p>
        </>
      )
    }
    case 'peer':
      return (
        <>
          <Grid
            {...{ label }} empty={isLoading ? its.waits : empty} first="total" rows={found.peer}
            columns={[named(its.peer), ...counted<PeerSockets>(found.peer)]}
            inside={row => <Parts {...inside} part={{ peer: row.source.peer }} recent={null} />}
          />
          {oneIn > 1 ? <p class="note">{its.estimated(count(oneIn))}</p> : null}
        </>
      )
    case 'netns':
      return <Namespaces {...{ ...props, rows: found.netns }} />
    case 'events':
      return <Events rows={found.events} {...{ namespace, observation }} empty={words ? its.nothing : its.noSockets} />
    case 'udp':
      return (
        <>
          <Grid
            {...{ label, empty }} first="drops" rows={found.udp}
            columns={[
              named(its.port),
              { name: 'sockets', title: its.sockets },
              { name: 'receive', title: its.unreadBytes, cell: ({ source }) => bytes(source.receive_queue_bytes) },
              { name: 'drops', title: its.drops },
            ]}
            inside={({ source }) => (
              <div class="parts">
                <Holder owner={readerOf(namespace, source.port)} />
                <List title={its.services} items={source.owners.map(({ owner, sockets }) => [owner, sockets])} />
                <Listing command={udpListing(source.port, entry)} />
              </div>
            )}
          />
          <p class="note">{its.udpNote}</p>
        </>
      )
    case 'unix':
      return (
        <>
          <Grid
            {...{ label, empty }} first="share" rows={found.unix}
            columns={[
              { ...named(its.path), isText: true },
              { name: 'queue', title: its.queue },
              { name: 'limit', title: its.limit },
              { name: 'share', title: '%', cell: ({ cells }) => percent(Number(cells['share'])) },
            ]}
            inside={({ source: { path } }) => (
              <div class="parts">
                <Holder owner={ownerOf(namespace, path)} />
                <Listing command={unixListing(path, entry)} />
              </div>
            )}
          />
          <p class="note">{its.unixNote}</p>
        </>
      )
  }
}

/** The process that a finding names; of other Unix listeners nobody has looked who holds them. */
const ownerOf = ({ findings }: Namespace, path: string): Process | null =>
  (findings ?? []).find(({ subject }) => subject.path === path)?.subject.owner ?? null

/** The same of a UDP port that drops. */
const readerOf = ({ findings }: Namespace, port: number): Process | null =>
  (findings ?? []).find(({ detector, subject }) => detector === 'udp_drops' && subject.port === port)?.subject.owner ?? null

function Holder({ owner }: { owner: Process | null }) {
  if (owner === null) return null
  const pid = owner.pid === null ? '' : say.finding.pid(owner.pid)
  const { fds, fd_limit: limit } = owner
  return (
    <section>
      <h3>{say.finding.heldBy}</h3>
      <dl class="evidence">
        <div><dt><bdi>{whose(owner)}</bdi></dt><dd>{pid}</dd></div>
        {fds === null || limit === null ? null : (
          <div><dt>{say.finding.descriptors}</dt><dd>{say.finding.ofLimit(count(fds), count(limit), percent(fds / limit))}</dd></div>
        )}
      </dl>
    </section>
  )
}

const named = (title: string) => ({ name: 'name', title, isText: true })

/** A column for the sum, and for each state that some row has. */
const counted = <Source,>(rows: Row<Source>[]): Column<Source>[] => [
  { name: 'total', title: say.tables.total },
  ...columns(rows).map((state: State) => ({ name: state, title: nameOf(state) })),
]

/** Columns for what waits in queues, where something does. */
function queues(rows: Row<Group>[]): Column<Group>[] {
  const all: Column<Group>[] = [
    { name: 'receive', title: say.tables.unreadBytes, isMinor: true, cell: ({ source: its }) => its.receive_queue_bytes ? bytes(its.receive_queue_bytes) : '·' },
    { name: 'send', title: say.tables.unsentBytes, isMinor: true, cell: ({ source: its }) => its.send_queue_bytes ? bytes(its.send_queue_bytes) : '·' },
  ]
  return all.filter(({ name }) => rows.some(({ cells }) => Number(cells[name]) > 0))
}

/** The last hour of each port, where it is kept. */
function sparks(rows: Row<Group>[], recentOf: RecentOfGroup): Column<Group>[] {
  if (!rows.some(({ source: { direction, port } }) => recentOf(direction, port) !== null)) return []
  return [{
    name: 'recent',
    title: say.tables.lastHour,
    isMinor: true,
    cell: ({ source: { direction, port } }) => {
      const recent = recentOf(direction, port)
      return recent === null ? null : <Spark recent={recent} series="sockets" label={say.tables.lastHour} />
    },
  }]
}

/** What opened, failed and closed, by port. */
function Events(props: { rows: ReturnType<typeof eventRows>; namespace: Namespace; observation: Observation; empty: string }) {
  const { rows, namespace, observation, empty } = props
  const its = say.tables
  const zone = useContext(InZone)
  const all = [
    named(its.port),
    { name: 'opened', title: its.opened },
    { name: 'failed', title: its.failed },
    { name: 'here', title: its.closedHere, isMinor: true },
    { name: 'there', title: its.closedThere, isMinor: true },
    { name: 'both', title: its.closedBoth, isMinor: true },
    { name: 'aborted', title: its.aborted },
  ]
  const columns = all.filter(({ name }) => name === 'name' || rows.some(({ cells }) => Number(cells[name]) > 0))
  const since = namespace.connection_events?.since
  return (
    <>
      <Grid
        label={its.tabs.events} {...{ rows, columns, empty }} first="opened"
        inside={({ source: { failed, aborted } }) => (
          <div class="parts">
            <List title={its.reasons} items={Object.entries(failed).map(([name, n]) => [its.why(name), n])} />
            <List title={its.abortedBy} items={Object.entries(aborted).map(([name, n]) => [its.why(name), n])} />
          </div>
        )}
      />
      <TimeToClose ports={namespace.connection_events?.ports ?? []} />
      {since === undefined ? null : <p class="note">{its.eventsNote(clock(since, observation.taken_at, zone))}</p>}
    </>
  )
}

/** Every namespace in a line, which links to its details. */
function Namespaces({ rows, namespace, observation }: Props & { rows: ReturnType<typeof rowsOf> }) {
  const its = say.tables
  const unknown = (n: number | null) => (n === null ? '–' : n === 0 ? <span class="none">·</span> : count(n))
  return (
    <>
      <Grid
        label={its.tabs.netns} empty={its.nothing} first="verdict" rows={rows}
        rowClass={row => (row.id === namespace.netns ? 'chosen' : '')}
        rowName={({ id }) => (
          <a href={linkTo(id)} aria-current={id === namespace.netns ? 'true' : undefined} onClick={goToDetails}><bdi>{id}</bdi></a>
        )}
        columns={[
          named(its.netns),
          {
            name: 'verdict', title: its.verdict, isText: true,
            cell: ({ source: { level, says } }) => (
              <span class={`level ${level}`}><Glyph level={level} /><span class="unseen">{say.level[level]}{say.colon}</span>{says}</span>
            ),
          },
          { name: 'sockets', title: its.sockets, cell: ({ source: { line, age } }) => unknown(age === null ? null : line.sockets) },
          { name: 'established', title: nameOf('established'), isMinor: true, cell: ({ source: { line, age } }) => unknown(age === null ? null : line.established) },
          { name: 'close_wait', title: nameOf('close_wait'), cell: ({ source: { line, age } }) => unknown(age === null ? null : line.close_wait) },
          { name: 'time_wait', title: nameOf('time_wait'), isMinor: true, cell: ({ source: { line, age } }) => unknown(age === null ? null : line.time_wait) },
          {
            name: 'age', title: its.counted, isMinor: true,
            cell: ({ source: { age } }) => age === null ? '–' : age > observation.interval_seconds ? its.ago(duration(age)) : its.now,
          },
        ]}
      />
      {observation.left_out > 0 ? <p class="note">{its.leftOut(observation.left_out)}</p> : null}
    </>
  )
}
