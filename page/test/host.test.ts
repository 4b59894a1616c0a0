import assert from 'node:assert/strict'
import { test } from 'node:test'
import { everywhere, hostVerdict, isOfMany, neighbourhood, troubled, worstNamespace } from '../src/model/host'
import type { Summary, Worst } from '../src/model/message'
import { linkTo, namedIn, rowsOf } from '../src/model/namespaces'
import { matching, sorted } from '../src/model/table'
import { observation, summary } from './builders'

const worst = (title: string, owner: string | null, does: string | null, seconds: number | null = null): Worst => ({
  title,
  owner,
  does: does === null ? null : { one: does, many: does },
  deadline: seconds === null ? null : { what: 'descriptors run out', seconds },
  zh: { title, does, deadline: null },
})
const LEAK = { worst: worst('An application does not close its connections', 'orders.service', 'leaks connections'), warnings: 1 }
const FLOOD = { worst: worst('Half-open connections pile up', null, null), critical: 1, warnings: 2 }

const host = summary({ netns: 'host' })

function verdictOf(...others: Summary[]) {
  const told = observation({ namespaces: [host, ...others] })
  return hostVerdict(everywhere(told), told, null)
}

test('a host is well only if all of its namespaces are', () => {
  const well = verdictOf(summary())
  assert.equal(well.level, 'ok')
  assert.match(well.detail, /^6 TCP sockets in 2 network namespaces: no leak/)
  assert.equal(verdictOf(summary({ unseen: 1 })).level, 'unknown')
  assert.equal(verdictOf(summary({ degraded: true, diagnosed_at: null })).level, 'unknown')
  assert.equal(verdictOf(summary({ counted_at: null })).level, 'unknown')
  const hinted = observation({ hints: ['some are hidden'] })
  assert.ok(isOfMany(hinted))
  assert.equal(hostVerdict(everywhere(hinted), hinted, null).level, 'unknown')
  assert.equal(isOfMany(observation()), false)
})

test('what is wrong in one namespace is the verdict of the host, and says whose and where', () => {
  const one = verdictOf(summary(), summary({ netns: 'orders', ...LEAK }))
  assert.deepEqual([one.level, one.headline], ['warning', 'orders leaks connections, in orders'])
  assert.equal(one.detail, '1 warning · 9 TCP sockets in 3 network namespaces')
  assert.equal(verdictOf(summary({ netns: 'edge', ...FLOOD })).headline, 'Half-open connections pile up, and 2 more, in edge')
  const two = verdictOf(summary({ netns: 'orders', ...LEAK }), summary({ netns: 'edge', ...FLOOD }))
  assert.equal(two.level, 'critical')
  assert.equal(two.headline, 'Trouble in 2 network namespaces: Half-open connections pile up, and 2 more, in edge')
  assert.equal(two.detail, '1 critical, 3 warnings · 9 TCP sockets in 3 network namespaces')
  const soon = { ...LEAK, worst: worst('', 'orders.service', 'leaks connections', 120) }
  assert.equal(verdictOf(summary({ netns: 'pod', ...soon })).headline, 'orders leaks connections; descriptors run out in 2m, in pod')
})

test('the worst comes first, and is shown until somebody chooses; it stays while none is worse', () => {
  const listed = (...others: Summary[]) => everywhere(observation({ namespaces: [host, ...others] }))
  const [orders, edge] = [summary({ netns: 'orders', ...LEAK }), summary({ netns: 'edge', ...FLOOD })]
  assert.deepEqual(
    troubled(listed(orders, edge)).map(({ line, level, says }) => [line.netns, level, says]),
    [
      ['edge', 'critical', 'Half-open connections pile up, and 2 more'],
      ['orders', 'warning', 'orders leaks connections'],
    ],
  )
  assert.equal(worstNamespace(listed(), null), null)
  assert.equal(worstNamespace(listed(orders, edge), null), 'edge')
  assert.equal(worstNamespace(listed(orders, edge), 'orders'), 'edge', 'another is worse')
  const soon = summary({ netns: 'pod', ...LEAK, worst: worst('', 'x', 'leaks', 5) })
  assert.equal(worstNamespace(listed(orders, soon), null), 'pod', 'what fails first is worse')
  assert.equal(worstNamespace(listed(orders, soon), 'orders'), 'orders', 'as severe')
  assert.equal(worstNamespace(listed(soon), 'orders'), 'pod')
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

test('namespaces are sorted, and what is not known sorts below every number', () => {
  const names = (column: string, descending: boolean) =>
    sorted(rowsOf(ALL), { column, descending }).map(({ name }) => name)
  assert.deepEqual(names('verdict', true), ['orders', 'hidden', 'host', 'cache'])
  assert.deepEqual(names('name', false), ['cache', 'hidden', 'host', 'orders'])
  assert.deepEqual(names('sockets', true), ['host', 'cache', 'orders', 'hidden'])
  assert.deepEqual(names('age', true), ['orders', 'cache', 'host', 'hidden'])
})

test('namespaces are filtered by name, verdict and whom to blame', () => {
  const names = (words: string) => matching(rowsOf(ALL), words).map(({ name }) => name).sort()
  assert.deepEqual(names('O'), ['cache', 'hidden', 'host', 'orders'])
  assert.deepEqual(names('warning'), ['orders'])
  assert.deepEqual(names('orders.service leaks'), ['orders'])
  assert.deepEqual(names('unknown hid'), ['hidden'])
})

test('an address names a namespace, whatever it is called', () => {
  for (const name of ['web', 'a b', 'a+b', 'ä&=#%']) assert.equal(namedIn(linkTo(name)), name)
  assert.equal(namedIn('#verdict'), null)
  assert.equal(namedIn(''), null)
})
