// `npm run bench [-- NAME...]`: all benchmarks, or those named.
import { benchAbort } from './abort.mjs'
import { benchEventLoop } from './event-loop.mjs'
import { benchModels } from './models.mjs'
import { benchNeighbour } from './neighbour.mjs'
import { benchQuality } from './quality.mjs'

const benchmarks = {
  models: benchModels,
  'event-loop': benchEventLoop,
  abort: benchAbort,
  neighbour: benchNeighbour,
}

const wanted = process.argv.slice(2)
if (wanted[0] === 'quality') {
  await benchQuality(wanted.slice(1))
  process.exit()
}
for (const name of wanted) {
  if (name in benchmarks) continue
  console.error(`bench: no benchmark ${name}; there are ${Object.keys(benchmarks).join(', ')}`)
  process.exit(2)
}
for (const [name, run] of Object.entries(benchmarks)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  console.log(`\n${name}`)
  await run()
}
