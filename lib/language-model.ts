import { readModelConfig } from './checkpoint/model-config.js'
import type { Constraint } from './constraints/index.js'
import { Deadline } from './engine/deadline.js'
import { Engine, requestFlags } from './engine/engine.js'
import type { CompleteOptions, GenerateOptions, RequestOptions } from './engine/generate-options.js'
import {
  checkBoolean,
  checkChoice,
  checkInteger,
  checkOptions,
  checkPrompt,
  checkSignal,
  generateRequest,
  placeOptions,
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
  Pooling,
  PromptToken,
  Stats,
  Usage,
  WeightDType,
} from './engine/messages.js'
import { cacheTypes, flags, weightTypes } from './engine/messages.js'
import { PieceQueue } from './engine/piece-queue.js'
import { CheckpointError, invalidType, invalidValue } from './errors.js'
import { modelFor } from './models/registry.js'
import { addon, cudaModule } from './native/addon.js'
import { modelSpec, parameters, record } from './nn/index.js'
import { createSequence, type Sequence } from './sequence.js'

export type {
  CompleteOptions,
  Constraint,
  FinishReason,
  GenerateOptions,
  MemoryPlan,
  NextToken,
  Piece,
  PromptToken,
  RequestOptions,
  Stats,
  Usage,
}

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
   * Bytes of the KV cache that all sequences share. By default a quarter (CPU) or four fifths (GPU) of the memory that
   * weights and activations leave free, cgroup limits respected; at least a whole context, at most `maxSequences` of
   * them. On the CPU memory is taken as texts fill it.
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
  /** Threads that compute; the processors this process may use, by default. */
  threads?: number
  /** Tokens a sequence may have, at most what the model was made for (the default). */
  contextLength?: number
  /** Called while weights are read, at most every 50 ms and at the end. */
  onProgress?: (progress: { loadedBytes: number; totalBytes: number }) => void
  /** Stops loading; the promise rejects with the signal's reason. */
  signal?: AbortSignal
}

/** A finished text. */
export interface Choice {
  text: string
  /** The generated ids, without the prompt's; the last one is the end token where that ended it. */
  ids: number[]
  /** `stop`: an end token, a stop string or the constraint's end; `length`: `maxTokens` or the context is used up. */
  finishReason: FinishReason
  /** Natural logarithm of the probability of its tokens, under the model. */
  logprob: number
  /** Its tokens, with the text that each made certain and the alternatives that `logprobs` asked for. */
  pieces: Piece[]
}

/** A finished generation: the first of its texts, and all of them. */
export interface Completion extends Choice {
  choices: Choice[]
  usage: Usage
  /** Of the prompt's tokens but the first, where `promptLogprobs` asked for them. */
  promptTokens: PromptToken[] | undefined
}

export interface EmbedOptions extends RequestOptions {
  /** What a text's vector is of what the LM head would read: the mean over its tokens (the default), or the last one's. */
  pooling?: Pooling
  /** Whether vectors have length 1; true by default. */
  normalize?: boolean
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
  const model = modelFor(config, { contextLength: options.contextLength })
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

function checkLoadOptions(where: string, options: LoadOptions): void {
  checkOptions(where, options)
  checkChoice(`${where}: device`, options.device, ['auto', 'cpu', 'cuda'])
  checkInteger(`${where}: deviceIndex`, options.deviceIndex, 0, 1023)
  checkChoice(`${where}: dtype`, options.dtype, weightTypes)
  checkChoice(`${where}: cacheDtype`, options.cacheDtype, cacheTypes)
  checkInteger(`${where}: cacheBytes`, options.cacheBytes, 1, 2 ** 46)
  checkInteger(`${where}: maxSequences`, options.maxSequences, 1, 1024)
  checkInteger(`${where}: stepTokens`, options.stepTokens, 32, 8192)
  checkInteger(`${where}: promptTokens`, options.promptTokens, 1, options.stepTokens ?? 512)
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

/** A loaded model: text in, text out. Made by `loadModel`. Calls made at the same time are served together. */
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
    return this.#stream(generateRequest('generate', prompt, options), options)
  }

  /** Continues a prompt to its end, or to `n` ends. Takes what `generate` takes, and `beams`. */
  async complete(prompt: string | readonly number[], options: CompleteOptions = {}): Promise<Completion> {
    const request = generateRequest('complete', prompt, options)
    const pieces: Piece[][] = Array.from({ length: request.samples }, () => [])
    const onPieces = (more: Piece[]) => {
      for (const piece of more) pieces[piece.choice]!.push(piece)
    }
    const finished = await this.#within('complete', options, (signal) =>
      this.#engine.request<'generate'>(request, { signal, onPieces }),
    )
    const choices = finished.choices.map((choice, i) => ({
      text: pieces[i]!.map((piece) => piece.text).join(''),
      ids: pieces[i]!.map((piece) => piece.id),
      ...choice,
      pieces: pieces[i]!,
    }))
    return { ...choices[0]!, choices, usage: finished.usage, promptTokens: finished.promptTokens }
  }

  /** The most probable next tokens, the likeliest first. `top` from 1 to the vocabulary's size, 10 by default. */
  async nextTokens(
    prompt: string | readonly number[],
    options: { top?: number } & RequestOptions = {},
  ): Promise<NextToken[]> {
    checkOptions('nextTokens', options)
    checkInteger('nextTokens: top', options.top, 1, 2 ** 31)
    placeOptions('nextTokens', options)
    const top = Math.min(options.top ?? 10, this.vocabSize)
    const request = { type: 'nextTokens', prompt: checkPrompt('nextTokens', prompt), top } as const
    return this.#within('nextTokens', options, (signal) =>
      this.#engine.request<'nextTokens'>(request, { signal }),
    )
  }

  /**
   * The logits after every token of the prompt, `(prompt tokens, vocabSize)`, row-major.
   *
   * @throws {RangeError} when they would take more than 4 GiB
   */
  async logits(
    prompt: string | readonly number[],
    options: RequestOptions = {},
  ): Promise<{ data: Float32Array; shape: [number, number] }> {
    checkOptions('logits', options)
    placeOptions('logits', options)
    const checked = checkPrompt('logits', prompt)
    const most = Math.floor(2 ** 30 / this.vocabSize)
    if (typeof checked !== 'string' && checked.length > most)
      throw invalidValue('logits: prompt', `at most ${most} tokens`, checked.length)
    return this.#within('logits', options, (signal) =>
      this.#engine.request<'logits'>({ type: 'logits', prompt: checked }, { signal }),
    )
  }

  /**
   * A vector for each text: of what the LM head would read, `(texts, width)`, row-major. Texts are computed together.
   *
   * @example
   * const { data, shape } = await model.embed(['a king', 'a queen'])
   */
  async embed(
    texts: string | readonly string[] | readonly (readonly number[])[],
    options: EmbedOptions = {},
  ): Promise<{ data: Float32Array; shape: [number, number]; promptTokens: number }> {
    checkOptions('embed', options)
    placeOptions('embed', options)
    checkChoice('embed: pooling', options.pooling, ['mean', 'last'])
    checkBoolean('embed: normalize', options.normalize)
    const all = typeof texts === 'string' ? [texts] : texts
    if (!Array.isArray(all))
      throw invalidType('embed: texts', 'a string or an array of texts or token ids', texts)
    if (all.length === 0 || all.length > 2 ** 16)
      throw invalidValue('embed: texts', `from 1 to ${2 ** 16} of them`, all.length)
    const request = {
      type: 'embed',
      prompts: all.map((text) => checkPrompt('embed', text)),
      pooling: options.pooling ?? 'mean',
      normalize: options.normalize ?? true,
    } as const
    return this.#within('embed', options, (signal) => this.#engine.request<'embed'>(request, { signal }))
  }

  /**
   * A sequence to go on with as you like: append ids, read logits, fork, truncate. For decoding of your own.
   *
   * @example
   * await using sequence = await model.sequence(await model.tokenize('ROMEO:'))
   * const logits = await sequence.logits() // Float32Array, (vocabSize,)
   */
  sequence(ids: readonly number[] = []): Promise<Sequence> {
    return createSequence(this.#engine, ids)
  }

  /** What the engine did so far and does now, for a server's metrics. */
  stats(): Promise<Stats> {
    return this.#engine.request<'stats'>({ type: 'stats' })
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
    options: RequestOptions,
  ): AsyncGenerator<Piece, void, void> {
    const deadline = new Deadline('generate', options)
    const ended = new AbortController()
    const flag = requestFlags()
    const queue = new PieceQueue((isFull) => {
      Atomics.store(flag, flags.pause, isFull ? 1 : 0)
      if (!isFull) this.#engine.wake()
    })
    const work = this.#engine.request<'generate'>(request, {
      signal: deadline.signal ? AbortSignal.any([deadline.signal, ended.signal]) : ended.signal,
      onPieces: (pieces) => queue.push(pieces),
      flag,
    })
    work.then(
      () => queue.end(),
      (error) => queue.fail(error),
    )
    try {
      yield* queue.drain()
    } finally {
      deadline.clear()
      ended.abort()
    }
  }

  /** Runs a request with its signal and deadline. */
  async #within<R>(
    where: string,
    options: RequestOptions,
    body: (signal: AbortSignal | undefined) => Promise<R>,
  ): Promise<R> {
    const deadline = new Deadline(where, options)
    try {
      return await body(deadline.signal)
    } finally {
      deadline.clear()
    }
  }
}
