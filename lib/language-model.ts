import { readModelConfig } from './checkpoint/model-config.js'
import { Engine } from './engine/engine.js'
import type { GenerateOptions } from './engine/generate-options.js'
import {
  checkChoice,
  checkInteger,
  checkOptions,
  checkPrompt,
  checkSignal,
  generateRequest,
} from './engine/generate-options.js'
import type {
  CacheDType,
  DeviceChoice,
  EngineInfo,
  EngineSetup,
  FinishReason,
  MemoryPlan,
  NextToken,
  Piece,
  Usage,
  WeightDType,
} from './engine/messages.js'
import { cacheTypes, weightTypes } from './engine/messages.js'
import { PieceQueue } from './engine/piece-queue.js'
import { CheckpointError, invalidType, invalidValue } from './errors.js'
import { modelFor } from './models/registry.js'
import { addon, cudaModule } from './native/addon.js'
import { modelSpec, parameters, record } from './nn/index.js'

export type { FinishReason, GenerateOptions, MemoryPlan, NextToken, Piece, Usage }

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
   * Tokens that decoding may run ahead of what you have seen, from 1 to 256; 1 on the CPU and 8 on a GPU by default.
   * The tokens are the same. Those that ran ahead of a stop are computed for nothing.
   */
  lookahead?: number
  /** Threads that compute; the processors this process may use, by default. */
  threads?: number
  /** Tokens a sequence may have, at most what the model was made for (the default). */
  contextLength?: number
  /** Called while weights are read, at most every 50 ms and at the end. */
  onProgress?: (progress: { loadedBytes: number; totalBytes: number }) => void
  /** Stops loading; the promise rejects with the signal's reason. */
  signal?: AbortSignal
}

/** A finished generation. */
export interface Completion {
  text: string
  /** The generated ids, without the prompt's; the last one is the end token where that ended it. */
  ids: number[]
  /** `stop`: an end token or stop string; `length`: `maxTokens` or the context is used up. */
  finishReason: FinishReason
  usage: Usage
}

/**
 * Loads a model from a folder in Hugging Face layout: `config.json`, `model.safetensors` (or shards with an index),
 * and `tokenizer.json` where there is one; or from a GGUF file, the first part of it where it was split.
 *
 * @param folder the folder, or the GGUF file
 * @throws {CheckpointError} when a file is missing, malformed or does not fit the architecture
 * @throws {OutOfMemoryError} when weights, cache and activations do not fit into the device's memory
 * @throws {DeviceError} when `device: 'cuda'` is asked for and there is none, saying why
 * @example
 * const model = await loadModel('models/tiny-shakespeare')
 * const { text } = await model.complete('ROMEO:', { maxTokens: 40 })
 */
export async function loadModel(folder: string, options: LoadOptions = {}): Promise<LanguageModel> {
  const { setup, config } = await modelSetup('loadModel', folder, options)
  const { vocabSize, contextLength } = setup
  const engine = await Engine.load(setup, {
    signal: options.signal,
    onProgress: (loadedBytes, totalBytes) => options.onProgress?.({ loadedBytes, totalBytes }),
  })
  return new LanguageModel(engine, { config, vocabSize, contextLength })
}

/**
 * What a model would take of the device's memory, without loading it: takes what `loadModel` takes.
 *
 * @throws {CheckpointError} when a file is missing, malformed or does not fit the architecture
 * @example
 * const { totalBytes, fits } = await estimateMemory('models/tiny-shakespeare')
 */
export async function estimateMemory(folder: string, options: LoadOptions = {}): Promise<MemoryPlan> {
  const { setup } = await modelSetup('estimateMemory', folder, options)
  return Engine.plan(setup)
}

/** What the engine needs to load a model, and its configuration. */
async function modelSetup(
  where: string,
  folder: string,
  options: LoadOptions,
): Promise<{ setup: Omit<EngineSetup, 'stop'>; config: Record<string, unknown> }> {
  if (typeof folder !== 'string') throw invalidType(`${where}: folder`, 'a string', folder)
  checkLoadOptions(where, options)
  const { config, endTokens } = await readModelConfig(where, folder)
  const model = modelFor(config)
  const graph = record(model)
  const { vocabSize, maxPositions } = modelSpec(model, graph)
  const contextLength = Math.min(options.contextLength ?? maxPositions, maxPositions)
  const setup = {
    folder,
    graph,
    parameters: parameters(model),
    rules: model.checkpoint,
    vocabSize,
    contextLength,
    eosIds: endTokenIds(endTokens, vocabSize),
    dtype: options.dtype ?? 'auto',
    cacheDtype: options.cacheDtype ?? 'auto',
    device: options.device ?? 'auto',
    cudaModule: cudaModule(),
    cudaIndex: options.deviceIndex ?? 0,
    lookahead: options.lookahead,
    threads: options.threads ?? addon().cpuInfo().processors,
    isa: process.env.KVASIR_ISA || undefined,
    planOnly: false,
  } as const
  return { setup, config }
}

function checkLoadOptions(where: string, options: LoadOptions): void {
  checkOptions(where, options)
  checkChoice(`${where}: device`, options.device, ['auto', 'cpu', 'cuda'])
  checkInteger(`${where}: deviceIndex`, options.deviceIndex, 0, 1023)
  checkChoice(`${where}: dtype`, options.dtype, weightTypes)
  checkChoice(`${where}: cacheDtype`, options.cacheDtype, cacheTypes)
  checkInteger(`${where}: lookahead`, options.lookahead, 1, 256)
  checkInteger(`${where}: threads`, options.threads, 1, 1024)
  checkInteger(`${where}: contextLength`, options.contextLength, 1, 2 ** 20 * 32)
  checkSignal(`${where}: signal`, options.signal)
  if (options.onProgress !== undefined && typeof options.onProgress !== 'function')
    throw invalidType(`${where}: onProgress`, 'a function', options.onProgress)
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

/** A loaded model: text in, text out. Made by `loadModel`. Calls at the same time are served one after another. */
export class LanguageModel {
  /** The model's `config.json`. */
  readonly config: Readonly<Record<string, unknown>>
  readonly vocabSize: number
  /** Tokens that prompt and answer may have together. */
  readonly contextLength: number
  readonly #engine: Engine

  /** @internal */
  constructor(
    engine: Engine,
    {
      config,
      vocabSize,
      contextLength,
    }: { config: Record<string, unknown>; vocabSize: number; contextLength: number },
  ) {
    this.#engine = engine
    this.config = config
    this.vocabSize = vocabSize
    this.contextLength = contextLength
  }

  /** What runs it: device, instruction set, threads, bytes of weights and of the cache when full. */
  get info(): Readonly<EngineInfo> {
    return this.#engine.info
  }

  /**
   * Continues a prompt, token by token. Work starts with the first `next()`; leaving the loop stops it.
   *
   * @param prompt text, or token ids
   * @throws what `options.signal` was aborted with
   * @throws {ContextFullError} when the prompt is longer than the context
   * @throws {NumericError} when the model computes something that is not a number
   * @example
   * for await (const piece of model.generate('ROMEO:', { maxTokens: 40 })) process.stdout.write(piece.text)
   */
  generate(
    prompt: string | readonly number[],
    options: GenerateOptions = {},
  ): AsyncGenerator<Piece, void, void> {
    const request = generateRequest('generate', prompt, options)
    return this.#stream(request, options.signal)
  }

  /** Continues a prompt to its end. Takes what `generate` takes. */
  async complete(prompt: string | readonly number[], options: GenerateOptions = {}): Promise<Completion> {
    const request = generateRequest('complete', prompt, options)
    const pieces: Piece[] = []
    const finished = await this.#engine.request<'generate'>(request, options.signal, (more) => {
      for (const piece of more) pieces.push(piece)
    })
    return {
      text: pieces.map((piece) => piece.text).join(''),
      ids: pieces.map((piece) => piece.id),
      finishReason: finished.finishReason,
      usage: finished.usage,
    }
  }

  /** The most probable next tokens, the likeliest first. `top` from 1 to the vocabulary's size, 10 by default. */
  async nextTokens(
    prompt: string | readonly number[],
    options: { top?: number; signal?: AbortSignal } = {},
  ): Promise<NextToken[]> {
    checkOptions('nextTokens', options)
    checkInteger('nextTokens: top', options.top, 1, 2 ** 31)
    checkSignal('nextTokens: signal', options.signal)
    const top = Math.min(options.top ?? 10, this.vocabSize)
    return this.#engine.request<'nextTokens'>(
      { type: 'nextTokens', prompt: checkPrompt('nextTokens', prompt), top },
      options.signal,
    )
  }

  /**
   * The logits after every token of the prompt, `(prompt tokens, vocabSize)`, row-major.
   *
   * @throws {RangeError} when they would take more than 4 GiB
   */
  async logits(
    prompt: string | readonly number[],
    options: { signal?: AbortSignal } = {},
  ): Promise<{ data: Float32Array; shape: [number, number] }> {
    checkOptions('logits', options)
    checkSignal('logits: signal', options.signal)
    const checked = checkPrompt('logits', prompt)
    const most = Math.floor(2 ** 30 / this.vocabSize)
    if (typeof checked !== 'string' && checked.length > most)
      throw invalidValue('logits: prompt', `at most ${most} tokens`, checked.length)
    return this.#engine.request<'logits'>({ type: 'logits', prompt: checked }, options.signal)
  }

  /** Text to token ids, with what the tokenizer puts around a text (such as a BOS) unless told otherwise. */
  async tokenize(text: string, options: { addSpecialTokens?: boolean } = {}): Promise<number[]> {
    if (typeof text !== 'string') throw invalidType('tokenize: text', 'a string', text)
    checkOptions('tokenize', options)
    return this.#engine.request<'tokenize'>({
      type: 'tokenize',
      text,
      addSpecialTokens: options.addSpecialTokens ?? true,
    })
  }

  /** Token ids to text; special tokens are left out. */
  async detokenize(ids: readonly number[]): Promise<string> {
    const checked = checkPrompt('detokenize', ids)
    if (typeof checked === 'string') throw invalidType('detokenize: ids', 'an array of token ids', ids)
    return this.#engine.request<'detokenize'>({ type: 'detokenize', ids: checked })
  }

  /** Stops all work and frees everything; resolves once it is freed. Idempotent. */
  dispose(): Promise<void> {
    return this.#engine.dispose()
  }

  /** `using model = await loadModel(...)` */
  [Symbol.dispose](): void {
    void this.dispose()
  }

  /** `await using model = await loadModel(...)` */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  async *#stream(
    request: ReturnType<typeof generateRequest>,
    signal?: AbortSignal,
  ): AsyncGenerator<Piece, void, void> {
    const ended = new AbortController()
    const queue = new PieceQueue()
    const work = this.#engine.request<'generate'>(
      request,
      signal ? AbortSignal.any([signal, ended.signal]) : ended.signal,
      (pieces) => queue.push(pieces),
    )
    work.then(
      () => queue.end(),
      (error) => queue.fail(error),
    )
    try {
      yield* queue.drain()
    } finally {
      ended.abort()
    }
  }
}
