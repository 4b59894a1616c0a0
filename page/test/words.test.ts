import assert from 'node:assert/strict'
import { test } from 'node:test'
import { everywhere } from '../src/model/host'
import { duration } from '../src/model/format'
import { evidenceName, spokenNamespace } from '../src/model/spoken'
import { verdict } from '../src/model/verdict'
import { preferred, speak } from '../src/words'
import { en } from '../src/words/en'
import { zh } from '../src/words/zh'
import { finding, namespace, observation, summary } from './builders'

type Tree = { [key: string]: unknown }

/** Every word by its place, functions called with plausible arguments. */
function leaves(tree: Tree, path = ''): [string, string][] {
  return Object.entries(tree).flatMap(([key, value]): [string, string][] => {
    const at = `${path}.${key}`
    if (typeof value === 'string') return [[at, value]]
    if (typeof value === 'function') {
      const said: unknown = value(...arguments_(at))
      return typeof said === 'string' ? [[at, said]] : leaves(said as Tree, at)
    }
    return leaves(value as Tree, at)
  })
}

const arguments_ = (at: string): unknown[] =>
  at.endsWith('.names') ? [['a'], 2]
  : at.endsWith('.explain') ? [{ finTimeout: 60, synRetries: 6, synSeconds: 127, synackRetries: 5, synackSeconds: 63 }]
  : at.endsWith('.counts') && at.includes('verdict') ? [1, 2]
  : at.endsWith('.why') ? ['timed_out']
  : at.endsWith('.port') && at.includes('finding') ? [80, true]
  : [3, 2]

/** The same in both languages: punctuation, units, names of programs, and of states and calls. */
const SAME = /^[\s\d\w.()/+%·—:-]*$/

test('every text of the page has its Chinese', () => {
  const [english, chinese] = [leaves(en), leaves(zh)]
  assert.deepEqual(chinese.map(([at]) => at), english.map(([at]) => at))
  assert.ok(english.length > 250, String(english.length))
  const missing = chinese.filter(([at, text], n) => text === english[n]?.[1] && !ALIKE.includes(at))
  assert.deepEqual(missing, [])
  const foreign = chinese.filter(([at, text]) => !/[\u3000-\u9fff\uff00-\uffef]/.test(text) && !SAME.test(text) && !ALIKE.includes(at))
  assert.deepEqual(foreign, [])
})

/** What both languages write alike. */
const ALIKE = [
  '.units.gap', '.verdict.clause', '.finding.pid', '.tables.unreadBytes', '.tables.unsentBytes', '.tables.tabs.udp', '.tables.tabs.unix',
  '.states.edges.listen', '.states.edges.connect',
]

test('the language is the first that the browser asks for and the page speaks', () => {
  assert.equal(preferred(['fr-FR', 'zh-CN', 'en']), 'zh')
  assert.equal(preferred(['en-GB', 'zh']), 'en')
  assert.equal(preferred(['zh-Hant-TW']), 'zh')
  assert.equal(preferred(['de']), 'en')
  assert.equal(preferred([]), 'en')
})

test('findings are said in Chinese too', () => {
  const owner = { name: 'python3', pid: 7, unit: 'orders.service', fds: null, fd_limit: null }
  const found = finding({ subject: { direction: 'inbound', port: 80, path: null, owner }, deadline: { what: 'x', seconds: 63 } })
  found.zh.deadline = '文件描述符耗尽'
  const told = observation({ namespaces: [summary({ netns: 'host' }), summary({ worst: { title: 'x', owner: 'orders.service', does: null, deadline: null, zh: { title: '应用没有关闭连接', does: '没有关闭连接', deadline: null } }, warnings: 2 })] })
  speak('zh')
  try {
    const its = spokenNamespace(namespace({ findings: [found] }))
    assert.equal(verdict(its, observation()).headline, 'orders 没有关闭连接；1 分 3 秒后文件描述符耗尽')
    assert.equal(everywhere(told)[1]?.says, 'orders 没有关闭连接，另有 1 个')
    assert.equal(evidenceName(found, 'oldest'), '最久')
    assert.equal(duration(7_500), '2 小时 5 分')
  } finally {
    speak('en')
  }
  assert.equal(evidenceName(found, 'not_read'), 'not read')
})
