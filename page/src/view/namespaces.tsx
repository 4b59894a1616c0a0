import { useState } from 'preact/hooks'
import { count, duration, plural } from '../model/format'
import type { Listed } from '../model/host'
import type { Observation } from '../model/message'
import { arranged, ASCENDING, cut, linkTo, SHOWN, type Column } from '../model/namespaces'
import type { Order } from '../model/sorting'
import type { Level } from '../model/verdict'
import { Glyph } from './glyph'
import { goToDetails } from './going'
import { Filter, Heading } from './sorting'
import { Cell } from './table'

const HEADINGS: [Column, string][] = [
  ['netns', 'namespace'],
  ['verdict', 'verdict'],
  ['sockets', 'sockets'],
  ['established', 'ESTABLISHED'],
  ['close_wait', 'CLOSE_WAIT'],
  ['time_wait', 'TIME_WAIT'],
  ['age', 'counted'],
]

const LEVELS: Record<Level, string> = { ok: 'healthy', warning: 'warning', critical: 'critical', unknown: 'not known' }

/** Every namespace in a line, which links to its details. */
export function Namespaces(props: {
  all: Listed[]
  observation: Observation
  chosen: string
}) {
  const { all, observation, chosen } = props
  const [words, setWords] = useState('')
  const [order, setOrder] = useState<Order<Column>>({ column: 'verdict', descending: true })
  const [whole, setWhole] = useState(false)
  const found = arranged(all, words, order)
  const rows = whole ? found : cut(found, chosen)
  return (
    <section class="card namespaces" aria-labelledby="namespaces">
      <div class="heading">
        <h2 id="namespaces">Network namespaces</h2>
        <Filter
          label="Filter namespaces by name or verdict"
          placeholder="name, critical, not known"
          {...{ words, setWords }}
          found={found.length}
          all={all.length}
        />
      </div>
      {found.length === 0 ? <p class="empty">Nothing matches.</p> : (
        <div class="scroll" role="region" aria-label="Table of namespaces" tabIndex={0}>
          <table>
            <thead>
              <tr>
                {HEADINGS.map(([column, text]) => (
                  <Heading
                    key={column}
                    {...{ column, text, order, setOrder }}
                    ascending={ASCENDING}
                    isText={column === 'verdict'}
                  />
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map(listed => (
                <Row key={listed.line.netns} listed={listed} observation={observation} isChosen={listed.line.netns === chosen} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {found.length > SHOWN ? (
        <button type="button" class="more" aria-expanded={whole} onClick={() => setWhole(!whole)}>
          {whole ? `Show the first ${SHOWN}` : `Show all ${count(found.length)}`}
        </button>
      ) : null}
      {observation.left_out > 0 ? (
        <p class="note">{plural(observation.left_out, 'more namespace')}, smaller and without findings, {observation.left_out === 1 ? 'is' : 'are'} not listed.</p>
      ) : null}
    </section>
  )
}

function Row(props: { listed: Listed; observation: Observation; isChosen: boolean }) {
  const { listed, observation, isChosen } = props
  const { line, level, says, blame, age } = listed
  const counts: [string, number | null][] = [
    ['total', line.sockets],
    ['established', line.established],
    ['close_wait', line.close_wait],
    ['time_wait', line.time_wait],
  ]
  return (
    <tr class={isChosen ? 'chosen' : ''}>
      <th scope="row">
        <a href={linkTo(line.netns)} aria-current={isChosen ? 'true' : undefined} onClick={goToDetails}><bdi>{line.netns}</bdi></a>
      </th>
      <td class={`text level ${level}`}>
        <Glyph level={level} /><span class="unseen">{LEVELS[level]}: </span>
        {says}{blame === null ? null : <> · <bdi>{blame}</bdi></>}
      </td>
      {counts.map(([kind, n]) =>
        age === null || n === null ? <td key={kind}>–</td> : <Cell key={kind} n={n} text={count} kind={kind} />,
      )}
      <td class="age">{age === null ? '–' : age > observation.interval_seconds ? `${duration(age)} ago` : 'now'}</td>
    </tr>
  )
}
