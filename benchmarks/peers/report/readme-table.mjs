// `node benchmarks/peers/report/readme-table.mjs FILE.json [SHAPE...]` prints the README's tables from a run's JSON.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { absence, columns } from './figures.mjs'
import { over } from './results.mjs'

const chosen = ['prefill', 'decode', 'load', 'memory', 'delay', 'abort'].map((name) => columns[name])
/** The best of contenders with equally exact weights is set in bold. */
const contested = { [columns.prefill.heading]: 'prefillRate', [columns.decode.heading]: 'decodeRate' }

/** A shape's results in Markdown, contenders with equally exact weights one below another. */
export function readmeTable({ shapes }, shape) {
  const rows = shapes[shape].contenders.toSorted((a, b) => b.bits - a.bits)
  const headings = ['weights', 'package', ...chosen.map(({ heading }) => heading)]
  return [
    headings,
    headings.map((_, i) => (i < 2 ? '---' : '--:')),
    ...rows.map((row) => [row.type, packageCell(row), ...cells(row, rows)]),
  ]
    .map((line) => `| ${line.join(' | ')} |`)
    .join('\n')
}

function packageCell({ package: name, version }) {
  return version ? `${name} ${version}` : name
}

function cells(row, rows) {
  const reason = absence(row)
  if (reason) return [reason, ...chosen.slice(1).map(() => '')]
  return chosen.map(({ heading, cell }) => {
    const figure = contested[heading]
    return figure && isBest(row, rows, figure) ? `**${cell(row)}**` : cell(row)
  })
}

function isBest(row, rows, figure) {
  const rate = (one) => over(one, (round) => round[figure]).median
  const rivals = rows.filter((one) => one.bits === row.bits && absence(one) === null)
  return rivals.length > 1 && rivals.every((rival) => rate(rival) <= rate(row))
}

/** What a table was measured with. */
export function readmeCaption(results, shape) {
  const { cpu, threads, isa, node, date, commit, effort } = results
  const { title, promptTokens, decodeTokens } = results.shapes[shape]
  return (
    `${title}, random weights; prefill of ${promptTokens} tokens, decode of ${decodeTokens}. ` +
    `${cpu}, ${threads} threads, ${isa}, Node.js ${node}; ${date}, commit ${commit}. ` +
    `Median of ${effort.rounds} ${effort.rounds === 1 ? 'round' : 'rounds'} (least-most).`
  )
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [path, ...wanted] = process.argv.slice(2)
  const results = JSON.parse(readFileSync(path, 'utf8'))
  for (const shape of wanted.length > 0 ? wanted : Object.keys(results.shapes))
    console.log(`${readmeCaption(results, shape)}\n\n${readmeTable(results, shape)}\n`)
}
