import { over } from '../peers/report/results.mjs'
import { printTable } from '../statistics.mjs'
import { arrivingPrompt } from './rounds.mjs'

/** Prints a type's figures: medians over the rounds, and the worst of what should never be bad. */
export function printResults({ types }, type) {
  const { rows, sharing } = types[type]
  const rateOfOne = new Map(
    rows
      .filter(({ count }) => count === 1)
      .map((row) => [row.package, middle(row, (round) => round.decodeRate)]),
  )
  console.log()
  printTable([headings, ...rows.map((row) => cells(row, rateOfOne.get(row.package)))])
  const { count, promptTokens, different, same } = sharing
  console.log(
    `${count} prompts of ${promptTokens} tokens at once: ${different.ms.toFixed(0)} ms to all first tokens, ` +
      `${same.ms.toFixed(0)} where they are the same (${same.cachedTokens} tokens were there)`,
  )
}

const headings = [
  '',
  'texts',
  'tokens/s',
  'times one',
  `first token of ${arrivingPrompt}, ms`,
  'others wait: usually, then p99, max',
  'loop p99, max',
  'abort in prompt, decode',
  'MB',
  'own work',
]

const middle = (row, pick) => over(row, pick).median
const most = (row, pick) => over(row, pick).most
const text = (value, digits = 1) => value.toFixed(digits)

function cells(row, rateOfOne) {
  const rate = middle(row, (round) => round.decodeRate)
  const delays = (name) => (round) => Math.max(round.delays.decode[name], round.delays.arrivals[name])
  return [
    row.name,
    row.count,
    text(rate, 0),
    text(rate / rateOfOne, 2),
    text(middle(row, (round) => round.firstTokenMs)),
    row.count === 1 ? '' : waits(row),
    `${text(most(row, delays('p99Ms')))}, ${text(most(row, delays('maxMs')))}`,
    ['prefill', 'decode'].map((name) => text(middle(row, (round) => round.aborts[name]))).join(', '),
    text(middle(row, (round) => round.peakBytes) / 1e6, 0),
    row.rounds[0].steps ? `${text(100 * middle(row, (round) => round.steps.engineShare))} %` : '',
  ]
}

function waits(row) {
  const usual = middle(row, (round) => round.calmGapsMs.median)
  const [p99, max] = ['p99', 'max'].map((name) => middle(row, (round) => round.gapsMs[name]))
  return [usual, p99, max].map((value) => text(value)).join(', ')
}
