import { existsSync } from 'node:fs'
import { readModelConfig } from './checkpoint/model-config.js'
import { checkChoice, checkInteger, checkOptions, checkSignal } from './engine/generate-options.js'
import type { CacheDType, DeviceChoice, EngineSetup, ModelSetup, WeightDType } from './engine/messages.js'
import { cacheTypes, weightTypes } from './engine/messages.js'
import { CheckpointError, invalidType, invalidValue } from './errors.js'
import { isHubName, type PullProgress, pull } from './hub/index.js'
import { modelFor } from './models/registry.js'
import { addon, cudaModule } from './native/addon.js'
import { modelSpec, parameters, record } from './nn/index.js'

export interface LoadOptions {
  /**
   * Where the model runs. `auto` (the default): on the first NVIDIA GPU where a driver answers and the model fits into
   * its memory, else on the CPU; `model.info.deviceReason` says why.
   */
  device?: DeviceChoice
  /** Which GPU, from 0 (the default). */
  deviceIndex?: number
  /**
   * How matrices are held: `auto` (the default) as the checkpoint has them on the CPU; on a GPU, where it is also the
   * type of results between layers, f16 where the checkpoint is f16 throughout, else bf16.
   *
   * `bf16` on the CPU: what matrices are multiplied with is rounded to bf16, too, which some processors multiply almost
   * twice as fast. With `auto` a checkpoint in bf16 is multiplied with f32 numbers.
   *
   * `q8` and `q4` round them to 8 and 4 bits in blocks of 32 while they are loaded; the LM head, and an embedding of
   * tokens, are q8 then. A GGUF file's 4-bit types are kept as q4, its others as q8. The CPU multiplies blocks with
   * numbers rounded to 8 bits, a GPU with bf16 or f16, to which it rounds the blocks' numbers.
   */
  dtype?: WeightDType
  /**
   * How keys and values are cached; `auto` (the default): f32 on the CPU, f16 there beside weights in blocks, on a GPU what
   * it computes in. `q8`: 8 bits a number, a scale for each key and value.
   */
  cacheDtype?: CacheDType
  /**
   * Bytes of the KV cache that all sequences share, a draft model's included. By default a quarter (CPU) or four fifths
   * (GPU) of the memory that weights and activations leave free, cgroup limits respected; at least a whole context, at
   * most `maxSequences` of them. On the CPU memory is taken as texts fill it.
   */
  cacheBytes?: number
  /** Texts that are continued at the same time, from 1 to 1024; 128 by default. More wait their turn. */
  maxSequences?: number
  /** Tokens that one step feeds, of all texts together, from 32 to 8192; 512 by default. */
  stepTokens?: number
  /**
   * Tokens of new prompts in a step in which other texts are continued: a long prompt makes those wait no longer than for
   * so many tokens. From 1 to `stepTokens`; 128 by default.
   */
  promptTokens?: number
  /**
   * Tokens that decoding may run ahead of what you have seen, from 1 to 256; 1 on the CPU and 8 on a GPU by default.
   * The tokens are the same. Those that ran ahead of a stop are computed for nothing.
   */
  lookahead?: number
  /**
   * A smaller model with the same vocabulary that guesses tokens, which the model then verifies several of in one step: a
   * folder, a GGUF file, or a name on the hub, as `loadModel` takes them. The texts stay the same, id for id; it is used only
   * where it gains. Where it has learned fewer positions than the model, it helps up to those.
   */
  draft?: string
  /** How the draft model's matrices are held; as the model's by default. */
  draftDtype?: WeightDType
  /** Threads that compute; the processors this process may use, by default. */
  threads?: number
  /** Tokens a sequence may have, at most what the model was made for (the default). */
  contextLength?: number
  /** Of a model on the hub: a GGUF file to take instead of safetensors. */
  file?: string
  /** Called while files come from the hub, at most every 50 ms. */
  onDownload?: (progress: PullProgress) => void
  /** Called while weights are read, at most every 50 ms and at the end. */
  onProgress?: (progress: { loadedBytes: number; totalBytes: number }) => void
  /** Stops loading; the promise rejects with the signal's reason. */
  signal?: AbortSignal
}

/** What the engine needs to load a model, and its configuration. */
export async function modelSetup(
  where: string,
  model: string,
  options: LoadOptions,
): Promise<{ setup: Omit<EngineSetup, 'stop'>; config: Record<string, unknown> }> {
  if (typeof model !== 'string') throw invalidType(`${where}: folder`, 'a string', model)
  checkLoadOptions(where, options)
  const folder = await modelPath(where, model, options)
  const { contextLength: asked } = options
  const { config, endTokens, vocabSize, ...recorded } = await recordModel(where, folder, asked)
  const contextLength = Math.min(asked ?? Number.POSITIVE_INFINITY, recorded.contextLength)
  const setup = {
    ...recorded,
    contextLength,
    vocabSize,
    draft: await draftSetup(where, options, { vocabSize, contextLength }),
    eosIds: endTokenIds(endTokens, vocabSize),
    dtype: options.dtype ?? 'auto',
    cacheDtype: options.cacheDtype ?? 'auto',
    device: options.device ?? 'auto',
    cudaModule: cudaModule(),
    cudaIndex: options.deviceIndex ?? 0,
    cacheBytes: options.cacheBytes,
    maxSequences: options.maxSequences ?? 128,
    stepTokens: options.stepTokens ?? 512,
    promptTokens: options.promptTokens ?? Math.min(128, options.stepTokens ?? 512),
    lookahead: options.lookahead,
    threads: options.threads ?? addon().cpuInfo().processors,
    isa: process.env.KVASIR_ISA || undefined,
    planOnly: false,
  } as const
  return { setup, config }
}

/** A model's graph, for texts that are never longer than `longest`, and all that is known of it without its weights. */
async function recordModel(where: string, folder: string, longest: number | undefined) {
  const { config, endTokens } = await readModelConfig(where, folder)
  const architecture = modelFor(config, { contextLength: longest })
  const graph = record(architecture)
  const { vocabSize, maxPositions: contextLength } = modelSpec(architecture, graph)
  const { checkpoint: rules } = architecture
  return {
    config,
    endTokens,
    vocabSize,
    folder,
    graph,
    parameters: parameters(architecture),
    rules,
    contextLength,
  }
}

/** The model that guesses tokens, where one was asked for. */
async function draftSetup(
  where: string,
  options: LoadOptions,
  { vocabSize, contextLength }: { vocabSize: number; contextLength: number },
): Promise<ModelSetup | undefined> {
  if (options.draft === undefined) return undefined
  const path = await modelPath(where, options.draft, { ...options, file: undefined })
  const {
    config: _,
    endTokens: __,
    vocabSize: own,
    ...recorded
  } = await recordModel(where, path, contextLength)
  if (own !== vocabSize)
    throw invalidValue(`${where}: draft`, `a model with the same vocabulary of ${vocabSize} tokens`, own)
  return {
    ...recorded,
    contextLength: Math.min(contextLength, recorded.contextLength),
    dtype: options.draftDtype ?? options.dtype ?? 'auto',
  }
}

/** What is there under that name comes first; a name such as `org/name` is else one on the hub. */
async function modelPath(where: string, model: string, options: LoadOptions): Promise<string> {
  if (!isHubName(model) || existsSync(model)) return model
  const { file, onDownload, signal } = options
  return pull(model, { file, onProgress: onDownload, signal }, where)
}

function checkLoadOptions(where: string, options: LoadOptions): void {
  checkOptions(where, options)
  checkChoice(`${where}: device`, options.device, ['auto', 'cpu', 'cuda'])
  checkInteger(`${where}: deviceIndex`, options.deviceIndex, 0, 1023)
  checkChoice(`${where}: dtype`, options.dtype, weightTypes)
  checkChoice(`${where}: cacheDtype`, options.cacheDtype, cacheTypes)
  checkChoice(`${where}: draftDtype`, options.draftDtype, weightTypes)
  checkInteger(`${where}: cacheBytes`, options.cacheBytes, 1, 2 ** 46)
  checkInteger(`${where}: maxSequences`, options.maxSequences, 1, 1024)
  checkInteger(`${where}: stepTokens`, options.stepTokens, 32, 8192)
  checkInteger(`${where}: promptTokens`, options.promptTokens, 1, options.stepTokens ?? 512)
  checkInteger(`${where}: lookahead`, options.lookahead, 1, 256)
  checkInteger(`${where}: threads`, options.threads, 1, 1024)
  checkInteger(`${where}: contextLength`, options.contextLength, 1, 2 ** 20 * 32)
  checkSignal(`${where}: signal`, options.signal)
  for (const name of ['onProgress', 'onDownload'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'function')
      throw invalidType(`${where}: ${name}`, 'a function', options[name])
  }
  for (const name of ['file', 'draft'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'string')
      throw invalidType(`${where}: ${name}`, 'a string', options[name])
  }
}

/** `eos_token_id` of a configuration: a number, several, or none. */
function endTokenIds(field: unknown, vocabSize: number): number[] {
  const ids = field === undefined || field === null ? [] : Array.isArray(field) ? field : [field]
  for (const id of ids) {
    if (Number.isInteger(id) && id >= 0 && id < 2 ** 31) continue
    const problem = { field: 'eos_token_id', expected: `ids from 0 to ${vocabSize - 1}`, found: String(id) }
    throw new CheckpointError(
      'ERR_FILE_FORMAT',
      `config: eos_token_id must be ${problem.expected}, got ${problem.found}`,
      problem,
    )
  }
  return ids as number[]
}
