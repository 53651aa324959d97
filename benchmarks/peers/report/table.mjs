import { printTable } from '../../statistics.mjs'
import { absence, columns } from './figures.mjs'

const tables = [
  ['prefill', 'prefillShare', 'decode', 'decodeShare', 'load', 'memory', 'mapped'],
  ['delayTail', 'delay', 'abort', 'idle'],
]

/** Prints a shape's results; contenders without figures come below, with the reason. */
export function printResults({ shapes }, shape) {
  const { title, promptTokens, decodeTokens, contenders } = shapes[shape]
  console.log(`\n${title}: prefill of ${promptTokens} tokens, decode of ${decodeTokens}`)
  const measured = contenders.filter((row) => absence(row) === null)
  for (const names of tables) {
    const chosen = names.map((name) => columns[name])
    const rows = measured.map((row) => [row.name, ...chosen.map(({ cell }) => cell(row))])
    if (rows.length > 0) printTable([['', ...chosen.map(({ heading }) => heading)], ...rows])
    console.log()
  }
  for (const row of contenders) if (absence(row)) console.log(`${row.name} ${absence(row)}`)
}
