// What a run found, as JSON and as charts.
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { addon } from '../../../dist/native/addon.js'
import { median } from '../../statistics.mjs'

const resultsFolder = fileURLToPath(new URL('../../results', import.meta.url))

/** Where and how a run is made. */
export function describeRun({ threads, effort }) {
  const cpu = addon().cpuInfo()
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: commit(),
    cpu: cpu.name,
    isa: cpu.isas[0],
    threads,
    memoryBytes: totalmem(),
    node: process.versions.node,
    effort,
  }
}

function commit() {
  const git = (...args) =>
    execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  try {
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain', 'lib', 'native') ? ' with changes' : ''}`
  } catch {
    return null // not a checkout
  }
}

/** Where a benchmark's results go that nobody gave a place. */
export function resultsPath(benchmark, { cpu }) {
  return join(resultsFolder, `${benchmark}-${cpuStem(cpu)}.json`)
}

export function writeResults(path, results) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${JSON.stringify(results, null, 2)}\n`)
}

/** Writes a chart a shape beside the JSON, where the plotting library is there; returns their paths. */
export async function writeCharts(path, results) {
  const { drawChart } = await import('./chart.mjs').catch(ignoreMissingLibrary)
  if (!drawChart) return []
  const written = []
  for (const shape of Object.keys(results.shapes)) {
    const chart = join(dirname(path), `${basename(path, '.json')}-${shape}.svg`)
    writeFileSync(chart, await drawChart(results, shape))
    written.push(chart)
  }
  return written
}

function ignoreMissingLibrary(error) {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error
  console.log('no chart: vega is not installed')
  return {}
}

/** `AMD EPYC 9B45` becomes `amd-epyc-9b45`. */
function cpuStem(name) {
  return name
    .toLowerCase()
    .replace(/\((r|tm)\)/g, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
}

/** Median, least and most of a figure over the rounds; `pick` takes it out of a round. */
export function over(row, pick) {
  const values = row.rounds.map(pick)
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) }
}
