import assert from 'node:assert/strict'
import { test } from 'node:test'
import { everywhere, hostVerdict, isOfMany, neighbourhood, troubled } from '../src/model/host'
import type { Summary } from '../src/model/message'
import { arranged, ASCENDING, cut, linkTo, namedIn, SHOWN, type Column } from '../src/model/namespaces'
import { clicked } from '../src/model/sorting'
import { observation, summary } from './builders'

const LEAK = { worst: { title: 'An application does not close its connections', owner: 'orders-api' }, warnings: 1 }
const FLOOD = { worst: { title: 'Half-open connections pile up', owner: null }, critical: 1, warnings: 2 }

const host = summary({ netns: 'host' })

function verdictOf(...others: Summary[]) {
  const told = observation({ namespaces: [host, ...others] })
  return hostVerdict(everywhere(told), told)
}

test('a host is well only if all of its namespaces are', () => {
  const well = verdictOf(summary())
  assert.deepEqual([well.level, well.where], ['ok', null])
  assert.match(well.detail, /^6 TCP sockets in 2 network namespaces: no leak/)
  assert.equal(verdictOf(summary({ unseen: 1 })).level, 'unknown')
  assert.equal(verdictOf(summary({ degraded: true, diagnosed_at: null })).level, 'unknown')
  assert.equal(verdictOf(summary({ counted_at: null })).level, 'unknown')
  const hinted = observation({ hints: ['some are hidden'] })
  assert.ok(isOfMany(hinted))
  assert.equal(hostVerdict(everywhere(hinted), hinted).level, 'unknown')
  assert.equal(isOfMany(observation()), false)
})

test('what is wrong in one namespace is the verdict of the host, and says where', () => {
  const one = verdictOf(summary(), summary({ netns: 'orders', ...LEAK }))
  assert.deepEqual(
    [one.level, one.headline, one.where, one.blame],
    ['warning', 'An application does not close its connections', 'orders', 'orders-api'],
  )
  assert.match(one.detail, /^1 warning among 9 TCP sockets in 3 network namespaces\./)
  const several = verdictOf(summary({ netns: 'edge', ...FLOOD }))
  assert.deepEqual([several.headline, several.blame], ['3 things are wrong', null])
  const two = verdictOf(summary({ netns: 'orders', ...LEAK }), summary({ netns: 'edge', ...FLOOD }))
  assert.deepEqual(
    [two.level, two.headline, two.where],
    ['critical', 'Something is wrong in 2 network namespaces', null],
  )
  assert.match(two.detail, /^1 critical finding and 3 warnings among/)
})

test('the worst comes first', () => {
  const namespaces = [host, summary({ netns: 'orders', ...LEAK }), summary({ netns: 'edge', ...FLOOD })]
  const told = troubled(everywhere(observation({ namespaces })))
  assert.deepEqual(
    told.map(({ line, level, says, blame }) => [line.netns, level, says, blame]),
    [
      ['edge', 'critical', 'Half-open connections pile up, and 2 more', null],
      ['orders', 'warning', 'An application does not close its connections', 'orders-api'],
    ],
  )
})

test('a line that is too old is not believed, one of its own beat is', () => {
  const at = (taken_at: number, beat_seconds: number) => {
    const told = observation({ taken_at, namespaces: [summary({ ...LEAK, beat_seconds })] })
    const [line] = everywhere(told)
    return [line?.level, line?.age]
  }
  assert.deepEqual(at(61, 20), ['warning', 60])
  assert.deepEqual(at(62, 20), ['unknown', null])
  assert.deepEqual(at(17, 5), ['unknown', null])
})

test('what is seen of the neighbours is one line', () => {
  assert.equal(neighbourhood(null), null)
  const some = neighbourhood({ inside: 12, outside: 3, empty: 120, hidden: 0 })
  assert.equal(some, 'Network namespaces besides the host’s own: 12 polled, 3 counted from outside, 120 without sockets.')
  assert.match(neighbourhood({ inside: 0, outside: 0, empty: 0, hidden: 0 }) ?? '', /no other/)
})

const ALL = everywhere(
  observation({
    taken_at: 11,
    namespaces: [
      summary({ netns: 'host', counted_at: 11, sockets: 900, diagnosed_at: 11 }),
      summary({ netns: 'cache', counted_at: 6, sockets: 20 }),
      summary({ netns: 'hidden', counted_at: null, sockets: null }),
      summary({ netns: 'orders', sockets: 5, ...LEAK }),
    ],
  }),
)

test('namespaces are sorted, and what is not known comes last', () => {
  const names = (column: Column, descending: boolean) =>
    arranged(ALL, '', { column, descending }).map(({ line }) => line.netns)
  assert.deepEqual(names('verdict', true), ['orders', 'hidden', 'host', 'cache'])
  assert.deepEqual(names('netns', false), ['cache', 'hidden', 'host', 'orders'])
  assert.deepEqual(names('sockets', true), ['host', 'cache', 'orders', 'hidden'])
  assert.deepEqual(names('sockets', false), ['orders', 'cache', 'host', 'hidden'])
  assert.deepEqual(names('age', true), ['orders', 'cache', 'host', 'hidden'])
  assert.deepEqual(clicked<Column>({ column: 'age', descending: true }, 'netns', ASCENDING), { column: 'netns', descending: false })
  assert.deepEqual(clicked<Column>({ column: 'age', descending: true }, 'age', ASCENDING), { column: 'age', descending: false })
})

test('of many the first are shown, and the one that is looked at', () => {
  const many = everywhere(observation({ namespaces: Array.from({ length: 30 }, (_, n) => summary({ netns: `n${n}` })) }))
  const shown = (chosen: string) => cut(many, chosen).map(({ line }) => line.netns)
  assert.deepEqual(shown('n3').length, SHOWN)
  assert.deepEqual([shown('n20').length, shown('n20').at(-1)], [SHOWN + 1, 'n20'])
})

test('namespaces are filtered by name, verdict and whom to blame', () => {
  const names = (words: string) =>
    arranged(ALL, words, { column: 'netns', descending: false }).map(({ line }) => line.netns)
  assert.deepEqual(names('O'), ['cache', 'hidden', 'host', 'orders'])
  assert.deepEqual(names('warning'), ['orders'])
  assert.deepEqual(names('orders-api leak'), [])
  assert.deepEqual(names('unknown hid'), ['hidden'])
})

test('an address names a namespace, whatever it is called', () => {
  for (const name of ['web', 'a b', 'a+b', 'ä&=#%']) assert.equal(namedIn(linkTo(name)), name)
  assert.equal(namedIn('#verdict'), null)
  assert.equal(namedIn(''), null)
})
