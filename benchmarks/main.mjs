// `npm run bench [-- NAME...]`: all benchmarks, or those named. Those that take arguments are run only when named:
// `npm run bench quality -- MODEL TEXT` wants files, `npm run bench engine|peers -- OPTIONS` install other packages,
// `npm run bench large` writes 8 GB.
import { benchAbort } from './abort.mjs'
import { benchConstraints } from './constraints.mjs'
import { benchEventLoop } from './event-loop.mjs'
import { benchModels } from './models.mjs'
import { benchNeighbour } from './neighbour.mjs'
import { benchSampling } from './sampling.mjs'
import { benchSpeculation } from './speculation.mjs'

const benchmarks = {
  models: () => benchModels(),
  'event-loop': benchEventLoop,
  abort: benchAbort,
  neighbour: benchNeighbour,
  constraints: benchConstraints,
  sampling: benchSampling,
  speculation: benchSpeculation,
}
const withArguments = {
  large: async () => (await import('./large.mjs')).benchLarge(),
  quality: async (args) => (await import('./quality.mjs')).benchQuality(args),
  engine: async (args) => (await import('./engine.mjs')).benchEngine(args),
  peers: async (args) => (await import('./peers/main.mjs')).benchPeers(args),
}

const [first, ...rest] = process.argv.slice(2)
if (Object.hasOwn(withArguments, first)) {
  await withArguments[first](rest)
} else {
  await runNamed(first === undefined ? Object.keys(benchmarks) : [first, ...rest])
}

async function runNamed(names) {
  for (const name of names) {
    if (Object.hasOwn(benchmarks, name)) continue
    const known = [...Object.keys(benchmarks), ...Object.keys(withArguments)].join(', ')
    console.error(`bench: no benchmark ${name}; there are ${known}`)
    process.exit(2)
  }
  for (const name of names) {
    console.log(`\n${name}`)
    await benchmarks[name]()
  }
}
