import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { CacheDType, DeviceChoice, WeightDType } from '../engine/messages.js'
import { cacheTypes, weightTypes } from '../engine/messages.js'
import { type LanguageModel, loadModel } from '../language-model.js'
import { progressLine, UsageError } from './terminal.js'

/** The small model that comes with the package. */
export const shippedModel = join(
  resolve(dirname(fileURLToPath(import.meta.url)), '..', '..'),
  'models',
  'tiny-shakespeare',
)

export interface ModelOptions {
  model: string
  device: DeviceChoice
  dtype: WeightDType
  cacheDtype: CacheDType
  lookahead?: number
  threads?: number
  context?: number
  file?: string
  draft?: string
}

export interface PromptOptions {
  prompt?: string
  ids?: number[]
}

/** Options of every command that loads a model. */
export function withModelOptions(command: Command): Command {
  return command
    .option(
      '-m, --model <folder>',
      'a model folder in Hugging Face layout, a GGUF file, or org/name on the hub',
      shippedModel,
    )
    .option('--draft <model>', 'a smaller model with the same vocabulary that guesses tokens')
    .option('--file <file>', 'of a model on the hub: the GGUF file to take')
    .addOption(
      new Option('--device <device>', 'where the model runs')
        .choices(['auto', 'cpu', 'cuda'])
        .default('auto'),
    )
    .addOption(new Option('--dtype <type>', 'how weights are held').choices(weightTypes).default('auto'))
    .addOption(
      new Option('--cache-dtype <type>', 'how keys and values are cached')
        .choices(cacheTypes)
        .default('auto'),
    )
    .option(
      '--lookahead <n>',
      'tokens that decoding may run ahead (default: 1 on the CPU, 8 on a GPU)',
      wholeNumber,
    )
    .option(
      '--threads <n>',
      'threads that compute (default: the processors this process may use)',
      wholeNumber,
    )
    .option('--context <n>', "tokens a sequence may have (default: the model's own limit)", wholeNumber)
}

export function withPromptOptions(command: Command): Command {
  return command
    .option('-p, --prompt <text>', 'what to continue')
    .option('--ids <ids>', 'what to continue, as token ids: 1,403,407', idList)
}

export function loadFrom(options: ModelOptions, signal: AbortSignal): Promise<LanguageModel> {
  const progress = progressLine()
  const download = progressLine('downloading')
  return loadModel(options.model, {
    file: options.file,
    onDownload: download.update,
    device: options.device,
    dtype: options.dtype,
    lookahead: options.lookahead,
    draft: options.draft,
    cacheDtype: options.cacheDtype,
    threads: options.threads,
    contextLength: options.context,
    signal,
    onProgress: progress.update,
  }).finally(progress.end)
}

/** The prompt of the command line; `otherwise` where none was given and the shipped model is used. */
export function promptOf(options: ModelOptions & PromptOptions, otherwise: string): string | number[] {
  if (options.prompt !== undefined && options.ids !== undefined)
    throw new UsageError('--prompt and --ids cannot both be given')
  const prompt = options.ids ?? options.prompt
  if (prompt !== undefined) return prompt
  if (options.model === shippedModel) return otherwise
  throw new UsageError('--prompt or --ids must be given')
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('must be a whole number')
  return Number(text)
}

export function decimal(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('must be a number')
  return value
}

function idList(text: string): number[] {
  return text.split(',').map((id) => wholeNumber(id.trim()))
}
