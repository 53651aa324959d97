// `npm run bench engine [-- OPTIONS]`: many texts at once in GPT-2 124M's shape, beside node-llama-cpp with as many
// sequences. Each contender is verified first: a text must be the same alone and among others. Then it is measured round by
// round, in turn, in a process of its own: tokens a second, how long a new request waits for its first token while the
// others are continued and how long it makes those wait, the event loop's delay, aborts, memory, and of Kvasir the share of
// a step that is not native work.
import { addon } from '../dist/native/addon.js'
import { configurations } from './engine/contenders.mjs'
import { readOptions } from './engine/options.mjs'
import { printResults } from './engine/report.mjs'
import { measureRound, measureSharing, verify } from './engine/rounds.mjs'
import { installPeers } from './peers/install.mjs'
import { prepareModels } from './peers/models/prepare.mjs'
import { describeRun, resultsPath, writeResults } from './peers/report/results.mjs'

/** Texts with which contenders are verified, and prompts that begin alike. */
const verifiedCount = 16

/** @param {string[]} argv */
export async function benchEngine(argv) {
  const { effort, types, alone, json } = readOptions(argv)
  const problem = alone ? null : installPeers()
  if (problem) console.log(`node-llama-cpp is left out: ${problem}`)
  const threads = addon().cpuInfo().processors
  const results = { ...describeRun({ threads, effort }), types: {} }
  const path = json ?? resultsPath('engine', results)
  for (const type of types) {
    const all = configurations(type, { alone })
    const files = all.flatMap(({ contender }) => contender.file ?? [])
    prepareModels('gpt2', new Set(files))
    const rows = all.map(({ contender, count }) => ({ ...contender, count, rounds: [] }))
    results.types[type] = { rows, verified: await verifyAll(all, { threads, effort }) }
    results.types[type].sharing = await measureSharing(all[0].contender, { count: verifiedCount, threads })
    for (let round = 0; round < effort.rounds; round++)
      for (const [i, configuration] of all.entries())
        rows[i].rounds.push(await measureRound(configuration, { threads, effort, round }))
    printResults(results, type)
    writeResults(path, results)
  }
  console.log(`\nwritten: ${path}`)
}

/** Of each contender how many texts are the same alone and together; of Kvasir's it must be all. */
async function verifyAll(all, options) {
  const verified = {}
  const count = verifiedCount
  for (const contender of new Set(all.map((one) => one.contender))) {
    const equal = await verify(contender, { ...options, count })
    console.log(`${contender.name}: ${equal} of ${count} texts are the same alone and together`)
    if (contender.package === 'kvasir' && equal < count)
      throw new Error(`bench: ${contender.name}: a text is another one among others`)
    verified[contender.name] = { equal, count }
  }
  return verified
}
