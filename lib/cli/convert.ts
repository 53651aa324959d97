import { Command, Option } from 'commander'
import { convertModel } from '../convert-model.js'
import { weightTypes } from '../engine/messages.js'
import type { DType } from '../graph/graph.js'
import { wholeNumber } from './model-options.js'
import { formatBytes, interruptible, printJson, progressLine } from './terminal.js'

interface Options {
  dtype: Exclude<DType, 'i32'>
  threads?: number
  json?: boolean
}

export function convertCommand(): Command {
  return new Command('convert')
    .description(
      'Write a model whose matrices are held in another type, which loads without converting them again.',
    )
    .argument('<model>', 'a model folder in Hugging Face layout')
    .argument('<out>', 'the new folder')
    .addOption(
      new Option('--dtype <type>', 'how matrices are to be held')
        .choices(weightTypes.filter((type) => type !== 'auto'))
        .makeOptionMandatory(),
    )
    .option(
      '--threads <n>',
      'threads that compute (default: the processors this process may use)',
      wholeNumber,
    )
    .option('--json', 'print one JSON object at the end')
    .action((model: string, out: string, options: Options) =>
      interruptible((signal) => run(model, out, options, signal)),
    )
}

async function run(model: string, out: string, options: Options, signal: AbortSignal): Promise<void> {
  const progress = progressLine('writing')
  const { dtype, threads } = options
  const startedAt = performance.now()
  const converted = await convertModel(model, out, {
    dtype,
    threads,
    signal,
    onProgress: progress.update,
  }).finally(progress.end)
  const seconds = (performance.now() - startedAt) / 1000
  if (options.json) return printJson({ ...converted, seconds })
  const types = Object.entries(converted.types).map(([type, count]) => `${count} in ${type}`)
  const sizes = `${formatBytes(converted.sourceBytes)} to ${formatBytes(converted.bytes)}`
  process.stdout.write(`${out}: ${sizes}, tensors: ${types.join(', ')}; ${seconds.toFixed(1)} s\n`)
}
