import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bars, older } from '../src/model/ages'
import { believed, dated } from '../src/model/believed'
import { EDGES, END, NODE, PLACES } from '../src/model/diagram'
import { lines } from '../src/model/evidence'
import { actorOf, alertOf, byCause, idOf, inOrder } from '../src/model/findings'
import { bytes, count, duration, percent, shortCount } from '../src/model/format'
import { gauges } from '../src/model/gauges'
import { appended, columnsOf, isBehind, lately, occurring } from '../src/model/history'
import { STATES, type Alert, type Group, type Range } from '../src/model/message'
import { explanation, nameOf, totals, whereAbouts } from '../src/model/states'
import { backoff, polledAt, status } from '../src/model/status'
import { clicked } from '../src/model/sorting'
import { columns, eventRows, groupRows, listing, matching, ownerRows, sorted } from '../src/model/table'
import { clock, iso } from '../src/model/time'
import { held, troubles, verdict, worstState } from '../src/model/verdict'
import { finding, group, history, namespace, observation } from './builders'

test('durations have two units at the most', () => {
  const told = [0, 0.4, 1, 59.6, 63, 7_500, 90_061].map(seconds => duration(seconds))
  assert.deepEqual(told, ['0s', '<1s', '1s', '1m', '1m 3s', '2h 5m', '1d 1h'])
})

test('numbers are told as people read them', () => {
  assert.deepEqual([1_234, 9_999, 12_345].map(shortCount), ['1,234', '9,999', '12.3K'])
  assert.equal(count(1_234_567), '1,234,567')
  assert.deepEqual([0, 1_023, 1_536, 20 * 1_048_576].map(bytes), ['0 B', '1,023 B', '1.5 KiB', '20 MiB'])
  assert.deepEqual([0, 0.001, 0.5, 0.999, 1, 1.2].map(percent), ['0%', '<1%', '50%', '99%', '100%', '120%'])
})

test('times are those of the zone, and of another day say which', () => {
  const noon = Date.UTC(2026, 4, 3, 12, 0, 0) / 1000
  const shanghai = { name: 'CST', offset: 28_800 }
  const utc = { name: 'UTC', offset: 0 }
  assert.equal(clock(noon, noon + 60, utc), '12:00:00')
  assert.equal(clock(noon, noon + 86_400, utc), '05-03 12:00:00')
  assert.equal(clock(noon, noon, shanghai), '20:00:00')
  assert.equal(iso(noon, utc), '2026-05-03T12:00:00Z')
  assert.equal(iso(noon, shanghai), '2026-05-03T20:00:00+08:00')
  assert.equal(iso(noon, { name: 'NST', offset: -12_600 }), '2026-05-03T08:30:00-03:30')
})

test('healthy is said only of what was seen', () => {
  assert.equal(verdict(namespace(), observation()).level, 'ok')
  const partial = verdict(namespace({ unavailable: ['syn_backlog'] }), observation())
  assert.equal(partial.level, 'unknown')
  const failure = { netns: 'host', reason: 'permission', message: 'cannot read' }
  assert.equal(verdict(namespace(), observation({ failures: [failure] })).level, 'unknown')
  const unsaved = observation({ failures: [{ netns: 'host', reason: 'component', message: 'save.state fails' }] })
  assert.equal(verdict(namespace(), unsaved).level, 'ok')
  assert.deepEqual(troubles(unsaved), ['save.state fails'])
  const never = verdict(namespace({ tcp: null, diagnosed_at: null }), observation())
  assert.equal(never.level, 'unknown')
  assert.match(never.detail, /^No poll has succeeded yet/)
  const unjudged = verdict(namespace({ findings: null, diagnosed_at: null }), observation())
  assert.deepEqual(
    [unjudged.level, unjudged.headline],
    ['unknown', 'Sockets are counted, but could not be judged'],
  )
  assert.match(unjudged.detail, /^3 TCP sockets\./)
})

test('what has not been read for three intervals is not known', () => {
  const told = namespace({ findings: [finding()], ages: { close_wait: [1] } })
  const at = (taken_at: number) => observation({ taken_at, interval_seconds: 5 })
  assert.deepEqual(believed(told, at(16)), told)
  const old = believed(told, at(64))
  assert.deepEqual([old.tcp, old.ports, old.limits, old.findings, old.ages], [null, null, null, null, null])
  assert.equal(verdict(old, at(64)).level, 'unknown')
  assert.match(verdict(old, at(64)).detail, /^No poll has succeeded for 1m 3s:/)
  const partly = believed({ ...told, diagnosed_at: 60, tcp: { taken_at: 60, ipv4: {} } }, at(64))
  assert.deepEqual([partly.tcp?.taken_at, partly.ports, partly.findings], [60, null, told.findings])
  const clockSet = believed(namespace({ diagnosed_at: 7_000 }), at(2))
  assert.deepEqual([clockSet.findings, clockSet.tcp?.taken_at], [null, 1])
})

test('a namespace that is polled less often is believed for longer, and its age is told', () => {
  const told = namespace({ beat_seconds: 30, diagnosed_at: 1 })
  assert.equal(believed(told, observation({ taken_at: 91 })).tcp, told.tcp)
  assert.equal(believed(told, observation({ taken_at: 92 })).tcp, null)
  const waiting = namespace({ beat_seconds: 120 })
  assert.equal(believed(waiting, observation({ taken_at: 181 })).tcp, waiting.tcp)
  assert.equal(believed(waiting, observation({ taken_at: 182 })).tcp, null)
  assert.equal(dated(told, observation({ taken_at: 6 })), null)
  assert.match(dated(told, observation({ taken_at: 21 })) ?? '', /^These numbers are 20s old: .* about every 30s/)
  const paced = namespace({ beat_seconds: 30, looked_at: 21 })
  assert.match(dated(paced, observation({ taken_at: 21 })) ?? '', /^Sockets at rest were counted 20s ago/)
  const failing = namespace({ looked_at: 11 })
  assert.match(dated(failing, observation({ taken_at: 11 })) ?? '', /reading failed since/)
})

test('the headline names services, what they do, and what fails when', () => {
  const of = (name: string, about = {}) => finding({
    subject: { direction: 'inbound', port: 80, path: null, owner: { name: 'python3', pid: 7, unit: name, fds: 9, fd_limit: 10 } },
    alert: { alertname: 'SockmonCloseWaitLeak', owner: name },
    ...about,
  })
  const told = (...findings: ReturnType<typeof of>[]) => verdict(namespace({ findings }), observation())
  const one = told(of('orders.service'))
  assert.deepEqual([one.level, one.headline], ['warning', 'orders leaks connections'])
  assert.equal(one.detail, '1 warning · 3 TCP sockets')
  assert.equal(told(of('a.service'), of('b.service')).headline, 'a and b leak connections')
  assert.equal(told(of('a'), of('b'), of('c'), of('d')).headline, 'a, b and 2 more leak connections')
  const queue = { detector: 'accept_queue', actor: { is_owner: true, text: '', does: { one: 'does not accept', many: '' } } }
  assert.equal(told(of('a'), of('b', queue)).headline, 'a leaks connections; b does not accept')
  assert.equal(told(of('a'), of('b', queue), of('c')).headline, 'a leaks connections; 2 more problems')
  const deadline = { what: 'descriptors run out', seconds: 2520 }
  assert.equal(told(of('a', { severity: 'critical', deadline })).headline, 'a leaks connections; descriptors run out in 42m')
  assert.equal(told(of('a'), of('b', { deadline })).headline, 'a and b leak connections; b: descriptors run out in 42m')
  const nobody = { detector: 'connect_stalled', title: 'Nobody answers', actor: { is_owner: false, text: 'The peers', does: null } }
  assert.equal(told(of('a', nobody)).headline, 'Nobody answers (port 80 here)')
  assert.equal(told(finding()).headline, 'An application does not close its connections (port 80 here)')
  const unknown = { name: 'unknown', pid: null, unit: null, fds: null, fd_limit: null }
  assert.match(told(of('', { subject: { direction: 'inbound', port: 80, path: null, owner: unknown } })).headline, /^An application/)
  assert.equal(told(of('a', { severity: 'critical' }), of('b')).level, 'critical')
})

test('findings keep their order while their severity holds', () => {
  const at = (port: number, severity: 'warning' | 'critical') => finding({
    severity, subject: { direction: 'inbound', port, path: null, owner: null }, alert: { alertname: 'X', port: String(port) },
  })
  const ports = (before: string[], ...found: ReturnType<typeof at>[]) =>
    inOrder(byCause(found), before).map(each => each.finding.subject.port)
  const [one, two] = [at(1, 'warning'), at(2, 'warning')]
  assert.deepEqual(ports([], two, one), [2, 1], 'as the daemon has them')
  assert.deepEqual(ports([one, two].map(idOf), two, one), [1, 2])
  assert.deepEqual(ports([one, two].map(idOf), at(3, 'warning'), two, one), [1, 2, 3])
  assert.deepEqual(ports([one, two].map(idOf), one, at(2, 'critical')), [2, 1])
})

test('who must act is the owner only where the owner is to blame', () => {
  const owner = { name: 'python3', pid: 7, unit: 'orders.service', fds: 9, fd_limit: 10 }
  const subject = { direction: 'inbound' as const, port: 80, path: null, owner }
  assert.deepEqual(actorOf(finding({ subject })), { who: 'orders.service', besides: 'python3, PID 7' })
  const plain = { ...subject, owner: { ...owner, unit: null } }
  assert.deepEqual(actorOf(finding({ subject: plain })), { who: 'python3', besides: 'PID 7' })
  const innocent = finding({ subject, actor: { is_owner: false, text: 'The peers', does: null } })
  assert.equal(actorOf(innocent).who, 'The peers')
  assert.equal(actorOf(finding()).who, 'The application here')
})

test('a symptom is below its cause, however many causes are between', () => {
  const key = (port: number) => ({
    detector: 'close_wait_leak', netns: 'host', subject: { direction: 'inbound' as const, port, path: null, owner: null },
  })
  const at = (port: number, cause: number | null) =>
    finding({ subject: { direction: 'inbound', port, path: null, owner: null }, cause: cause === null ? null : key(cause) })
  const ports = (...findings: ReturnType<typeof at>[]) =>
    byCause(findings).map(({ finding: one, symptoms }) => [one.subject.port, symptoms.map(each => each.subject.port)])
  assert.deepEqual(ports(at(1, null), at(2, 1), at(3, 2), at(4, null)), [[1, [2, 3]], [4, []]])
  assert.deepEqual(ports(at(2, 1)), [[2, []]], 'its cause is not in the list')
  assert.deepEqual(ports(at(1, 2), at(2, 1)).length, 2, 'a circle')
  const headline = verdict(namespace({ findings: [at(1, null), at(2, 1)] }), observation()).headline
  assert.equal(headline, 'An application does not close its connections (port 1 here)')
})

const IDENTITY = { alertname: 'SockmonCloseWaitLeak', netns: 'host', direction: 'inbound', port: '80' }
const alert = (state: Alert['state'], severity: string, labels = {}): Alert => ({
  state,
  since: 1,
  firing_since: null,
  resolved_at: null,
  labels: { ...IDENTITY, source: 'sockmon', severity, ...labels },
  annotations: {},
})

test('a finding knows its alert, which may be of another severity for a while', () => {
  const [waiting, firing] = [alert('pending', 'critical'), alert('firing', 'warning')]
  const found = finding({ severity: 'critical', alert: IDENTITY })
  assert.equal(alertOf(found, observation({ alerts: [waiting] })), waiting)
  assert.equal(alertOf(found, observation({ alerts: [waiting, firing] })), firing)
  assert.equal(alertOf(found, observation({ alerts: [alert('resolved', 'critical')] })), null)
})

test('a finding takes no alert of another owner', () => {
  const owner = { owner: 'orders.service' }
  const alerts = [alert('firing', 'warning', { owner: 'another' }), alert('pending', 'warning', owner)]
  const its = finding({ alert: { ...IDENTITY, ...owner } })
  assert.equal(alertOf(its, observation({ alerts })), alerts[1])
  assert.equal(alertOf(finding({ alert: IDENTITY }), observation({ alerts })), null)
})

test('an alert that fires on is held, and the verdict says so', () => {
  const told = observation({ alerts: [alert('firing', 'warning'), alert('resolved', 'critical')] })
  assert.deepEqual(held(namespace(), told), [told.alerts[0]])
  assert.match(verdict(namespace(), told).detail, /^Healthy again; 1 alert still fires for a while\. /)
  assert.deepEqual(held(namespace({ findings: [finding({ alert: IDENTITY })] }), told), [])
  assert.deepEqual(held(namespace({ findings: null }), told), [])
})

test('the state with trouble is looked at first', () => {
  assert.equal(worstState(namespace()), 'established')
  const findings = [finding({ state: null }), finding({ state: 'syn_recv' })]
  assert.equal(worstState(namespace({ findings })), 'syn_recv')
})

test('evidence is shown by its unit', () => {
  const shown = lines(finding({ evidence: {
    oldest: { value: 63, unit: 'seconds' },
    unread: { value: 2048, unit: 'bytes' },
    not_read_to_the_end: { value: 1234, unit: 'sockets' },
    peers: { parts: [{ name: '192.0.2.1', value: 3, unit: 'sockets' }, { name: '::1', value: 1, unit: 'sockets' }] },
    counters: { parts: [{ name: 'ListenDrops', value: 0.456, unit: 'per_second' }] },
    growth: { value: 1.5, unit: 'per_minute' },
    used: { value: 0.5, unit: 'ratio' },
    destination: { value: 10_000, unit: 'port' },
    range: { value: '32768 to 60999', unit: 'text' },
    nothing: { parts: [] },
  } }))
  assert.deepEqual(
    shown.map(({ name, text }) => `${name}: ${text}`),
    [
      'oldest: 1m 3s', 'unread: 2.0 KiB', 'not read to the end: 1,234', 'peers: 192.0.2.1 (3), ::1 (1)',
      'counters: ListenDrops 0.46 a second', 'growth: 1.5 a minute', 'used: 50%', 'destination: 10000',
      'range: 32768 to 60999', 'nothing: none',
    ],
  )
})

test('what could not be read is no healthy zero', () => {
  const known = gauges(namespace({ ports: null, limits: null }))
  assert.deepEqual(known.map(({ ratio }) => ratio), [null, null, null, null, null, null])
  assert.deepEqual(gauges(namespace({ degraded: true, ports: null })).find(({ name }) => name === 'Local ports'), undefined)
  assert.ok(known.every(({ note }) => note === 'could not be read'))
})

test('a gauge has the severity of its finding', () => {
  const leaking = namespace({ findings: [finding({ metrics: ['sockmon_time_wait_buckets'], severity: 'critical' })] })
  const told = gauges(leaking).filter(({ severity }) => severity !== null)
  assert.deepEqual(told.map(({ name, severity }) => [name, severity]), [['TIME_WAIT table', 'critical']])
})

test('an accept queue is full when it holds one more than its limit', () => {
  const full = namespace()
  full.ports = { ...full.ports!, listeners: [{ port: 80, queue: 1, limit: 1, drops: 0 }, { port: 81, queue: 2, limit: 1, drops: 0 }] }
  const { ratio, note } = gauges(full).find(({ name }) => name === 'Fullest accept queue')!
  assert.deepEqual([ratio, note], [1, 'port 81'])
  const listening = (about: object) => gauges({ ...full, ...about }).map(({ name }) => name)
  assert.ok(!listening({ ports: { ...full.ports!, listeners: [] } }).includes('Fullest accept queue'), 'there is none')
})

const GROUPS: Group[] = [
  group('outbound', 443, { time_wait: 50 }),
  group('inbound', 80, { close_wait: 3, listen: 1 }),
  group('inbound', 8080, { established: 9, listen: 1 }),
  group('outbound', 'other', { established: 99 }),
]

test('rows are sorted, and what is folded stays last', () => {
  const ports = (column: string, descending: boolean) =>
    sorted(groupRows(GROUPS), { column, descending }).map(({ name }) => name)
  assert.deepEqual(ports('total', true), ['443', '8080', '80', 'other'])
  assert.deepEqual(ports('name', false), ['80', '443', '8080', 'other'])
  assert.deepEqual(ports('close_wait', true), ['80', '443', '8080', 'other'])
})

test('a column is turned round when it is clicked again', () => {
  const first = clicked({ column: 'total', descending: true }, 'listen', ['name'])
  assert.deepEqual(first, { column: 'listen', descending: true })
  assert.deepEqual(clicked(first, 'listen', ['name']), { column: 'listen', descending: false })
  assert.equal(clicked(first, 'name', ['name']).descending, false)
})

test('the filter takes directions, ports, states and names', () => {
  const ports = (text: string) => matching(groupRows(GROUPS), text).map(({ name }) => name).sort()
  assert.deepEqual(ports('inbound 80'), ['80', '8080'])
  assert.deepEqual(ports('CLOSE-WAIT'), ['80'])
  assert.deepEqual(ports('time'), ['443'])
  assert.deepEqual(ports('nobody'), [])
  const owners = ownerRows([{ owner: 'nginx.service', states: { established: 1 } }, { owner: 'other', states: { time_wait: 1 } }, { owner: 'gone', states: { established: 0 } }])
  assert.deepEqual(owners.map(({ name }) => name), ['nginx.service', 'no service known'], 'none without sockets')
  assert.deepEqual(matching(owners, 'nginx').map(({ id }) => id), ['nginx.service'])
  assert.deepEqual(columns(GROUPS), ['established', 'close_wait', 'time_wait', 'listen'])
})

test('what opened and closed is counted by port, and only what happened', () => {
  const none = { failed: {}, closed: {}, aborted: {}, connect_seconds: null, close_wait_seconds: null, lifetime_seconds: null }
  const rows = eventRows([
    { ...none, direction: 'outbound', port: 5432, opened: 7, failed: { refused: 2, timed_out: 1 }, closed: { here: 4 } },
    { ...none, direction: 'inbound', port: null, opened: 1 },
    { ...none, direction: 'inbound', port: 80, opened: 0 },
  ])
  assert.deepEqual(rows.map(({ name, kind, isRest }) => [name, kind, isRest]), [['5432', 'outbound', false], ['other', 'inbound', true]])
  assert.deepEqual([rows[0]?.cells['failed'], rows[0]?.cells['here'], rows[0]?.cells['both']], [3, 4, 0])
  assert.deepEqual(matching(rows, 'refused').map(({ name }) => name), ['5432'])
})

test('a part of the sockets is listed by ss, inside its namespace', () => {
  assert.equal(listing({ direction: 'inbound', port: 80 }, ''), "ss -tanpo '( sport = :80 )'")
  assert.equal(listing({ direction: 'outbound', port: 80 }, 'nsenter --net=/x'), "nsenter --net=/x ss -tanpo '( dport = :80 )'")
  assert.equal(listing({ peer: '::1' }, ''), 'ss -tanpo dst [::1]')
  assert.equal(listing({ owner: 'nginx.service' }, ''), null)
})

test('a shorter span is the end of a longer one, and the legend has the states that occur', () => {
  const whole = columnsOf(history({ times: [100, 200, 300], max: { close_wait: [0, 5, 6], listen: [0, 0, 0] } }))
  assert.deepEqual(lately(whole, 150).times, [200, 300])
  assert.deepEqual(lately(whole, 150).states.close_wait, [5, 6])
  assert.equal(lately(whole, 900), whole)
  assert.deepEqual(occurring(whole), ['close_wait'])
})

test('history goes on with each poll, and forgets what is too old', () => {
  const begun = columnsOf(history({ times: [100, 105], max: { close_wait: [1, null] } }))
  assert.deepEqual(begun.states.listen, [null, null])
  const host = namespace({ tcp: { taken_at: 110, ipv4: { close_wait: 2 }, ipv6: { close_wait: 3 } } })
  const at = (taken_at: number, about = {}) =>
    [namespace({ looked_at: taken_at, ...about }), observation({ taken_at })] as const
  const next = appended(begun, { ...host, looked_at: 110 }, observation({ taken_at: 110 }), 'hour')
  assert.deepEqual(next.times, [100, 105, 110])
  assert.deepEqual(next.states.close_wait, [1, null, 5])
  assert.equal(appended(next, ...at(110), 'hour'), next)
  const unread = appended(next, ...at(115), 'hour')
  assert.equal(unread.states.close_wait.at(-1), null)
  const later = appended(next, ...at(100 + 3_608), 'hour')
  assert.deepEqual(later.times, [110, 3_708])
})

test('history has no row where it was not its turn, and none is lost where a part waits for its own', () => {
  const begun = columnsOf(history({ times: [100] }))
  const polled = observation({ taken_at: 110 })
  assert.equal(appended(begun, namespace({ looked_at: 100, beat_seconds: 20 }), polled, 'hour'), begun)
  const tcp = { taken_at: 95, ipv4: { established: 7 } }
  const paced = appended(begun, namespace({ looked_at: 110, beat_seconds: 20, tcp }), polled, 'hour')
  assert.deepEqual(paced.states.established, [null, 7])
  const failed = appended(begun, namespace({ looked_at: 110, beat_seconds: 5, tcp }), polled, 'hour')
  assert.deepEqual(failed.states.established, [null, null])
})

test('an hour has a row a second, however often polls are', () => {
  const begun = columnsOf(history({ times: [100] }))
  const at = (taken_at: number) => [namespace({ looked_at: taken_at }), observation({ taken_at })] as const
  assert.equal(appended(begun, ...at(100.5), 'hour'), begun)
  assert.deepEqual(appended(begun, ...at(101), 'hour').times, [100, 101])
})

test('history is asked for again after a gap, or when the clock was set', () => {
  const columns = columnsOf(history({ times: [1_000] }))
  const behind = (taken_at: number, { interval = 5, beat = 5, step = 1, range = 'hour' as Range } = {}) =>
    isBehind(
      { ...columns, step },
      namespace({ beat_seconds: beat }),
      observation({ taken_at, interval_seconds: interval }),
      range,
    )
  assert.equal(behind(1_010), false)
  assert.equal(behind(1_015), true)
  assert.equal(behind(1_001.1, { interval: 0.1, beat: 0.1 }), false)
  assert.equal(behind(940), true)
  assert.equal(behind(1_065, { range: 'day', step: 60 }), false)
  assert.equal(behind(1_095, { range: 'day', step: 60 }), true)
  assert.equal(behind(1_045, { beat: 20 }), false, 'it is polled less often')
  assert.equal(behind(1_085, { step: 60 }), false, 'a row is a minute')
  const none = columnsOf(history({ step_seconds: null }))
  assert.equal(isBehind(none, namespace(), observation({ taken_at: 9_000 }), 'hour'), false)
})

test('both families are counted together', () => {
  const host = namespace({ tcp: { taken_at: 1, ipv4: { listen: 2 }, ipv6: { listen: 3 } } })
  assert.deepEqual([totals(host)?.listen, totals(host)?.close_wait], [5, 0])
})

test('ages are bars, and old once they are stale', () => {
  const host = namespace({ ages: { close_wait: [1, 2, 4] } })
  const polled = observation({ age_bounds_seconds: [30, 60] })
  const shown = bars(host, polled)
  assert.deepEqual(shown?.map(({ says }) => says), ['up to 30s: 1', '30s to 1m: 2', 'over 1m: 4'])
  assert.deepEqual(shown?.map(({ edge }) => edge), ['0s', '30s', '1m'])
  assert.deepEqual(shown?.map(({ old }) => old), [false, false, true])
  assert.deepEqual(shown?.map(({ height }) => height), [0.25, 0.5, 1])
  assert.deepEqual(bars({ ...host, stale_after_seconds: 20 }, polled)?.map(({ old }) => old), [false, true, true])
  assert.equal(bars(namespace({ ages: null }), observation()), null)
  const young = bars(namespace({ ages: { close_wait: [3, 0, 0, 0, 0] } }), observation({ age_bounds_seconds: [30, 60, 90, 120] }))
  assert.deepEqual(young?.map(({ edge }) => edge), ['0s', '30s', '1m'], 'no more than a stale one needs')
})

test('how many are older than a stale one is known as exactly as the bounds allow', () => {
  const polled = observation({ age_bounds_seconds: [30, 60] })
  const of = (stale_after_seconds: number | null) =>
    older(namespace({ ages: { close_wait: [1, 2, 4] }, stale_after_seconds }), polled, 'close_wait')
  assert.deepEqual(of(60), { sockets: 4, seconds: 60 })
  assert.deepEqual(of(20), { sockets: 6, seconds: 30 })
  assert.equal(of(90), null)
  assert.equal(of(null), null)
})

test('data is old after three intervals, and the daemon gone when it does not answer', () => {
  assert.equal(status({ phase: 'live' }, 16, 5, 0).kind, 'live')
  assert.equal(status({ phase: 'live' }, 18, 5, 0).kind, 'old')
  assert.equal(status({ phase: 'live' }, null, 5, 0).kind, 'waiting')
  const lost = status({ phase: 'lost', retryAt: 3, refused: false }, 9, 5, 0)
  assert.equal(lost.kind, 'gone')
  assert.equal(lost.counting, 'What you see is 9s old. Trying again in 3s.')
  assert.match(status({ phase: 'lost', retryAt: 3, refused: true }, null, 5, 4).text, /login\./)
  assert.equal(status({ phase: 'connecting', again: true }, 1, 5, 0).kind, 'gone')
  assert.equal(status({ phase: 'connecting', again: false }, 1, 5, 0).kind, 'waiting')
})

test('beats alone do not make what is shown any younger', () => {
  assert.equal(polledAt(null, false, 1, 10), null)
  assert.equal(polledAt(null, true, 1, 10), 9)
  assert.equal(polledAt(9, false, 1, 15), 9)
  assert.equal(polledAt(9, false, 8, 15), 7)
  assert.equal(polledAt(9, false, null, 15), 9)
  assert.equal(polledAt(9, true, 1, 15), 14)
})

test('tries are ever fewer, and at least two a minute', () => {
  assert.deepEqual([0, 1, 2, 9].map(tries => backoff(tries, 0.5)), [1, 2, 4, 30])
  assert.ok(backoff(9, 1) < 40)
})

test('every state is explained, and has a place of its own', () => {
  assert.deepEqual(STATES.map(nameOf).slice(-4), ['CLOSE_WAIT', 'LAST_ACK', 'LISTEN', 'CLOSING'])
  const places = STATES.map(state => PLACES[state])
  for (const [at, { x, y }] of places.entries()) {
    const near = places.slice(at + 1).filter(
      other => Math.abs(other.x - x) < NODE.width && Math.abs(other.y - y) < NODE.height,
    )
    assert.deepEqual(near, [])
  }
  assert.ok(EDGES.length > 10 && END.y > 0)
  const settings = { fin_timeout: 20, syn_retries: 3, synack_retries: 2 }
  assert.match(explanation('fin_wait2', settings).next, /after 20 s/)
  assert.match(explanation('syn_sent', settings).next, /about 15 s \(tcp_syn_retries is 3\)/)
})

test('a state is found where most of it is', () => {
  const host = namespace()
  host.ports = { ...host.ports!, groups: GROUPS }
  assert.deepEqual(whereAbouts(host, 'established', 1), ['99 towards other ports'])
})
