import { count } from '../model/format'
import type { Observation, SocketsAnswer, State } from '../model/message'
import { nameOf } from '../model/states'
import { columns, listing, sum, type Part } from '../model/table'
import { say } from '../words'
import { duration } from '../model/format'
import { CommandLine } from './command'
import { useSockets } from './sockets'
import { Lines, type Recent } from './spark'

const SHOWN = 8

/** What an opened row shows: its states, ages, peers, ports and services, its past, how to list it. */
export function Parts(props: {
  netns: string
  entry: string
  part: Part
  observation: Observation
  recent: Recent | null
}) {
  const { netns, entry, part, observation, recent } = props
  const answer = useSockets(netns, part, observation.taken_at)
  const command = listing(part, entry)
  return (
    <div class="parts">
      {answer === null ? <p class="note">{say.tables.loading}</p> : <Answer {...{ answer, part, observation }} />}
      {recent === null ? null : (
        <section><h3>{say.tables.history}{say.colon}{say.tables.lastHour}</h3><Lines recent={recent} label={say.tables.history} /></section>
      )}
      {command === null ? null : <Listing command={command} />}
    </div>
  )
}

/** The command that lists them. */
export const Listing = ({ command }: { command: string }) => (
  <section class="wide">
    <h3>{say.tables.list}</h3>
    <CommandLine command={{ line: command, where: 'namespace', effect: 'reads' }} />
  </section>
)

function Answer({ answer, part, observation }: { answer: SocketsAnswer; part: Part; observation: Observation }) {
  const states = columns([answer])
  return (
    <>
      <List title={say.tables.states} items={states.map(state => [nameOf(state), answer.states[state] ?? 0])} />
      {part.peer === undefined ? (
        <List title={say.tables.peers} items={answer.peers.map(({ peer, states }) => [peer, sum(states)])} />
      ) : null}
      {part.port === undefined ? (
        <List
          title={say.tables.ports}
          items={answer.ports.map(({ direction, port, states }) => [`${port} ${say.tables[direction]}`, sum(states)])}
        />
      ) : null}
      {part.owner === undefined ? (
        <List title={say.tables.services} items={answer.owners.map(({ owner, states }) => [owner, sum(states)])} />
      ) : null}
      <Ages answer={answer} observation={observation} />
      {answer.one_in > 1 ? <p class="note wide">{say.tables.estimated(count(answer.one_in))}</p> : null}
    </>
  )
}

/** Names with numbers, the largest first; nothing if there is none. */
export function List({ title, items }: { title: string; items: [string, number][] }) {
  if (items.length === 0) return null
  return (
    <section>
      <h3>{title}</h3>
      <dl class="evidence">
        {items.slice(0, SHOWN).map(([name, n]) => <div key={name}><dt><bdi>{name}</bdi></dt><dd>{count(n)}</dd></div>)}
        {items.length > SHOWN ? <div><dt>…</dt><dd>{count(items.slice(SHOWN).reduce((all, [, n]) => all + n, 0))}</dd></div> : null}
      </dl>
    </section>
  )
}

/** How long its sockets have been in their states, where that is known. */
function Ages({ answer, observation }: { answer: SocketsAnswer; observation: Observation }) {
  const bounds = observation.age_bounds_seconds
  const range = (at: number): string => {
    const [from, to] = [bounds[at - 1], bounds[at]]
    if (to === undefined) return say.ages.over(duration(from ?? 0))
    return from === undefined ? say.ages.upTo(duration(to)) : say.ages.range(duration(from), duration(to))
  }
  const items = (Object.entries(answer.ages) as [State, number[]][]).flatMap(([state, counts]) =>
    counts.flatMap((n, at): [string, number][] => (n > 0 ? [[`${nameOf(state)} ${range(at)}`, n]] : [])),
  )
  return <List title={say.tables.ages} items={items} />
}
