import { Command } from 'commander'
import { Checkpoint } from '../checkpoint/checkpoint.js'
import { isGgufFile } from '../checkpoint/gguf/gguf-files.js'
import { matchParameters } from '../checkpoint/match.js'
import { readModelConfig } from '../checkpoint/model-config.js'
import type { WeightDType } from '../engine/messages.js'
import { CheckpointError } from '../errors.js'
import { graphToDot } from '../graph/dot.js'
import type { Graph } from '../graph/graph.js'
import { blockTokens, isBlocked } from '../graph/graph.js'
import { graphTotals } from '../graph/listing/sizes.js'
import { listGraph } from '../graph/listing.js'
import { optimize } from '../graph/passes/index.js'
import { modelFor } from '../models/registry.js'
import { modelSpec, parameters, record } from '../nn/index.js'
import { describeGguf, ggufText } from './inspect-gguf.js'
import type { ModelOptions } from './model-options.js'
import { shippedModel, withModelOptions } from './model-options.js'
import { formatBytes, printJson } from './terminal.js'

interface Options extends ModelOptions {
  graph?: boolean
  dot?: boolean
  all?: boolean
  json?: boolean
}

export function inspectCommand(): Command {
  const command = new Command('inspect').description(
    'Show what a model is made of, without loading its weights.',
  )
  return withModelOptions(command)
    .argument('[folder]', 'the model, as --model takes it; of a GGUF file also metadata and tensors')
    .option('--graph', 'list the program: as recorded, and as it runs')
    .option('--dot', 'print the program that runs in the language of Graphviz')
    .option('--all', 'list every layer, not one of those that are alike')
    .option('--json', 'print JSON')
    .action((folder: string | undefined, options: Options) => run(folder ?? options.model, options))
}

async function run(folder: string, options: Options): Promise<void> {
  const gguf = (await isGgufFile(folder)) ? describeGguf(folder) : null
  const model = await describe(folder, options.dtype).catch((error) => {
    // A file of another family still says what it holds.
    if (!gguf || options.graph || options.dot || error.code !== 'ERR_UNSUPPORTED') throw error
    return error as CheckpointError
  })
  if (model instanceof CheckpointError) {
    if (options.json) return printJson({ unsupported: model.message, ...gguf })
    return void process.stdout.write(`${model.message}\n\n${ggufText(gguf!)}`)
  }
  if (options.dot) return void process.stdout.write(graphToDot(model.fused))
  if (options.json) {
    const graphs = options.graph ? { recorded: plain(model.recorded), fused: plain(model.fused) } : {}
    return printJson({ ...model.summary, ...gguf, ...graphs })
  }
  if (options.graph) {
    const list = (graph: Graph) => listGraph(graph, { all: options.all })
    process.stdout.write(`recorded\n\n${list(model.recorded)}\n\nfused\n\n${list(model.fused)}\n`)
    return
  }
  process.stdout.write(summaryText(folder, model.summary))
  if (gguf) process.stdout.write(`\n${ggufText(gguf)}`)
}

async function describe(folder: string, dtype: WeightDType) {
  const { config } = await readModelConfig('inspect', folder)
  const model = modelFor(config)
  const recorded = record(model)
  const checkpoint = await Checkpoint.open(folder)
  try {
    const tensors = matchParameters(checkpoint, parameters(model), model.checkpoint)
    const fused = optimize(recorded, { dtype, storedTypes: (path) => tensors.get(path)?.dtype ?? 'f32' })
    const { vocabSize, maxPositions, layers } = modelSpec(model, recorded)
    const totals = graphTotals(fused)
    const channels = layers.reduce((sum, { kvHeads, headSize }) => sum + kvHeads * headSize, 0)
    // What keys and values are cached in on the CPU.
    const cacheType = fused.values.some(({ dtype }) => isBlocked(dtype)) ? 'f16' : 'f32'
    const summary = {
      modelType: String(config.model_type),
      vocabSize,
      maxPositions,
      attentionLayers: layers.length,
      parameters: totals.parameters,
      weightBytes: totals.weightBytes,
      cacheType,
      cacheBytesPerToken: 2 * (cacheType === 'f32' ? 4 : 2) * channels,
      cacheBlockTokens: blockTokens,
      storedTypes: [...new Set([...tensors.values()].map(({ entry }) => entry.dtype.toLowerCase()))].sort(),
      recordedNodes: recorded.nodes.length,
      fusedNodes: fused.nodes.length,
    }
    return { recorded, fused, summary }
  } finally {
    checkpoint.close()
  }
}

type Summary = Awaited<ReturnType<typeof describe>>['summary']

function summaryText(folder: string, s: Summary): string {
  const rows = [
    ['model', folder === shippedModel ? 'tiny-shakespeare, which comes with the package' : folder],
    ['family', s.modelType],
    ['parameters', s.parameters.toLocaleString('en')],
    ['weights', `${formatBytes(s.weightBytes)} in memory, stored as ${s.storedTypes.join(' and ')}`],
    ['vocabulary', s.vocabSize.toLocaleString('en')],
    ['context', `${s.maxPositions.toLocaleString('en')} tokens`],
    [
      'KV cache',
      `${s.attentionLayers} layers, ${formatBytes(s.cacheBytesPerToken)} a token in ${s.cacheType}`,
    ],
    ['program', `${s.recordedNodes} nodes recorded, ${s.fusedNodes} after fusion (--graph lists them)`],
  ]
  return rows.map(([name, text]) => `${name!.padEnd(12)}${text}\n`).join('')
}

/** Constants' elements as plain numbers, so that JSON holds them as a list. */
function plain(graph: Graph): unknown {
  return {
    ...graph,
    values: graph.values.map((value) => (value.data ? { ...value, data: [...value.data] } : value)),
  }
}
