import assert from 'node:assert/strict'
import { test } from 'node:test'
import { labelled, type Mark } from '../src/model/marks'
import type { AlertChange } from '../src/model/message'

const mark = (x: number, severity: string, state: 'firing' | 'resolved' = 'firing'): Mark => ({
  x,
  change: {
    at: x, state, labels: { severity }, firing_since: x, previous_severity: null, summary: '',
  } as unknown as AlertChange,
})

const said = (marks: Mark[], end = 1000): (string | number)[][] =>
  labelled(marks, {
    text: ({ state, labels }, n) => `${state === 'resolved' ? 'resolved' : labels['severity']} ${n}`,
    width: text => 10 * text.length,
    end,
    gap: 10,
  }).map(({ left, text }) => [left, text])

test('alerts far apart have a label each', () => {
  assert.deepEqual(said([mark(100, 'warning'), mark(300, 'critical'), mark(500, 'critical', 'resolved')]),
    [[95, 'warning 1'], [295, 'critical 1'], [495, 'resolved 1']])
})

test('alerts close together share the label of the gravest, and none is lost', () => {
  assert.deepEqual(said([mark(100, 'warning'), mark(101, 'critical'), mark(150, 'critical', 'resolved'), mark(300, 'warning')]),
    [[95, 'critical 3'], [295, 'warning 1']])
})

test('a label at the end is moved into the room, and takes in what it would cover', () => {
  assert.deepEqual(said([mark(100, 'critical'), mark(700, 'warning'), mark(995, 'critical')]),
    [[95, 'critical 1'], [695, 'warning 1'], [900, 'critical 1']])
  assert.deepEqual(said([mark(100, 'critical'), mark(850, 'warning'), mark(995, 'critical')]),
    [[95, 'critical 1'], [845, 'critical 2']])
})
