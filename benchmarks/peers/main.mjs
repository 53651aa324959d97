// `npm run bench peers [-- OPTIONS]`: Kvasir beside other packages that run language models in Node.js, all with the same
// random weights. Each contender is verified first, and measured round by round in a process of its own.
import { fileURLToPath } from 'node:url'
import { addon } from '../../dist/native/addon.js'
import { contenders, installedVersion } from './contenders.mjs'
import { installPeers } from './install.mjs'
import { prepareModels } from './models/prepare.mjs'
import { shapes } from './models/shapes.mjs'
import { readOptions } from './options.mjs'
import { describeRun, resultsPath, writeCharts, writeResults } from './report/results.mjs'
import { printResults } from './report/table.mjs'
import { efforts, measureRound } from './rounds.mjs'
import { referenceAnswers, verify } from './verify.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** @param {string[]} argv */
export async function benchPeers(argv) {
  const options = readOptions(argv)
  const installProblem = installPeers()
  const effort = { ...efforts[options.quick ? 'quick' : 'full'], ...options.effort }
  const threads = options.threads ?? addon().cpuInfo().processors
  const results = { ...describeRun({ threads, effort }), shapes: {} }
  const path = options.json ?? resultsPath('peers', results)
  for (const shape of options.shapes) {
    const rows = options.contenders.map((name) => newRow(name, installProblem))
    const { decodeTokens } = { ...shapes[shape], ...effort }
    results.shapes[shape] = { ...shapes[shape], decodeTokens, contenders: rows }
    await benchShape(shape, rows, { threads, effort, onRound: () => writeResults(path, results) })
    printResults(results, shape)
  }
  writeResults(path, results)
  console.log(`\nwritten: ${[path, ...(await writeCharts(path, results))].join(', ')}`)
}

function newRow(name, installProblem) {
  const contender = contenders.find((one) => one.name === name)
  const version = installedVersion(contender.package)
  const reason = version === null ? (installProblem ?? 'npm left it out') : undefined
  return { ...contender, version, status: version === null ? 'not installed' : 'waiting', reason, rounds: [] }
}

async function benchShape(shape, rows, { threads, effort, onRound }) {
  console.log(`\n${shapes[shape].title}`)
  prepareModels(shape, new Set(inPlay(rows).flatMap(({ file }) => file ?? [])))
  await verifyAll(shape, rows, threads)
  const probe = new (addon().Backend)({ threads })
  for (let round = 0; round < effort.rounds; round++) {
    for (const row of inPlay(rows)) {
      await attempt(row, async () => {
        row.rounds.push(await measureRound(row, { shape, threads, probe, effort, round }))
        row.status = 'measured'
        console.log(`round ${round + 1} of ${effort.rounds}: ${row.name}`)
      })
    }
    onRound()
  }
  probe.dispose()
}

const inPlay = (rows) => rows.filter(({ status }) => status === 'waiting' || status === 'measured')

async function verifyAll(shape, rows, threads) {
  const reference = await referenceAnswers({ shape, threads })
  for (const row of inPlay(rows)) {
    await attempt(row, async () => {
      row.agreement = await verify(row, reference, { shape, threads })
      const { relativeError, klDivergence } = row.agreement
      const [error, divergence] = [relativeError, klDivergence].map((value) => value.toExponential(1))
      console.log(`${row.name}: logits off by ${error} of their spread, KL ${divergence}`)
    })
  }
}

/** A contender that fails is reported, and takes no further part. */
async function attempt(row, body) {
  try {
    await body()
  } catch (error) {
    row.status = 'failed'
    row.reason = error.message.replaceAll(root, '')
    row.rounds = []
    console.log(`${row.name}: failed: ${row.reason}`)
  }
}
