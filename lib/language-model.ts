import type { ChatMessage, ChatTool, Rendered } from './chat/index.js'
import { checkMessages, checkTools, render } from './chat/index.js'
import { ChatStream } from './chat-stream.js'
import type { Choice, Completion, ConstraintValue } from './completion.js'
import { constrainedValue } from './completion.js'
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
  generateRequest,
  placeOptions,
} from './engine/generate-options.js'
import type {
  EngineInfo,
  Finished,
  FinishReason,
  MemoryPlan,
  NextToken,
  Piece,
  Pooling,
  PromptToken,
  Stats,
  Usage,
} from './engine/messages.js'
import { flags } from './engine/messages.js'
import { PieceQueue } from './engine/piece-queue.js'
import { invalidType, invalidValue } from './errors.js'
import type { Graph } from './graph/graph.js'
import { type LoadOptions, modelSetup } from './model-setup.js'
import { createSequence, type Sequence } from './sequence.js'
import type { LogitLens, RunGraph, Trace } from './trace/index.js'
import { capturable, logitLens, trace } from './trace/index.js'

export type {
  Choice,
  CompleteOptions,
  Completion,
  Constraint,
  ConstraintValue,
  FinishReason,
  GenerateOptions,
  LoadOptions,
  MemoryPlan,
  NextToken,
  Piece,
  PromptToken,
  RequestOptions,
  Stats,
  Usage,
}

export interface ChatOptions extends GenerateOptions {
  /** Tools that the model may call; it does so in a piece of its own. */
  tools?: readonly ChatTool[]
  /** Which of the model's templates to use; by default the one for tools where there are some, else its usual one. */
  template?: string
  /** More variables for the template, such as `{ enable_thinking: false }`. */
  variables?: Readonly<Record<string, unknown>>
}

export interface EmbedOptions extends RequestOptions {
  /** What a text's vector is of what the LM head would read: the mean over its tokens (the default), or the last one's. */
  pooling?: Pooling
  /** Whether vectors have length 1; true by default. */
  normalize?: boolean
}

/**
 * Loads a model from a folder in Hugging Face layout: `config.json`, `model.safetensors` (or shards with an index),
 * and `tokenizer.json` where there is one; from a GGUF file, the first part of it where it was split; or from the hub.
 *
 * @param folder the folder, the GGUF file, or `org/name` or `org/name@revision` on the hub, which is downloaded to the usual
 *   cache folder where it is not there yet
 * @throws {HubError} when a model on the hub cannot be had
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
  return new LanguageModel(engine, { config, vocabSize, contextLength, graph: setup.graph })
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

async function* withoutResult(
  pieces: AsyncGenerator<Piece, unknown, void>,
): AsyncGenerator<Piece, void, void> {
  yield* pieces
}

/** A loaded model: text in, text out. Made by `loadModel`. Calls made at the same time are served together. */
export class LanguageModel {
  /** The model's `config.json`. */
  readonly config: Readonly<Record<string, unknown>>
  readonly vocabSize: number
  /** Tokens that prompt and answer may have together. */
  readonly contextLength: number
  readonly #engine: Engine
  /** As recorded. */
  readonly #graph: Graph

  /** @internal */
  constructor(
    engine: Engine,
    {
      config,
      vocabSize,
      contextLength,
      graph,
    }: { config: Record<string, unknown>; vocabSize: number; contextLength: number; graph: Graph },
  ) {
    this.#engine = engine
    this.#graph = graph
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
    return withoutResult(this.#stream(generateRequest('generate', prompt, options), options))
  }

  /**
   * Answers a conversation, in the form that the model's chat template gives it. Read it in a loop, or wait for all of it
   * with `answer()`.
   *
   * @throws {TemplateError} when read, if the model has no template, or it refuses the messages
   * @example
   * for await (const piece of model.chat([{ role: 'user', content: 'Hello!' }]))
   *   if (piece.type === 'text') process.stdout.write(piece.text)
   */
  chat(messages: readonly ChatMessage[], options: ChatOptions = {}): ChatStream {
    checkMessages('chat', messages)
    checkOptions('chat', options)
    checkTools('chat', options.tools)
    const request = generateRequest('chat', [], options)
    const start = async () => {
      const { text, mark } = await this.#render(messages, options, true)
      const prompt = { rendered: text, mark }
      const pieces = this.#stream({ ...request, prompt, keepsSpecial: true }, options)
      return { thinks: /<think>\s*$/.test(text), pieces }
    }
    return new ChatStream(start, (options.tools?.length ?? 0) > 0)
  }

  /** The text that `chat` would continue, without what keeps messages from posing as its structure. */
  async renderChat(
    messages: readonly ChatMessage[],
    options: Pick<ChatOptions, 'tools' | 'template' | 'variables'> & { addGenerationPrompt?: boolean } = {},
  ): Promise<string> {
    checkMessages('renderChat', messages)
    checkOptions('renderChat', options)
    checkTools('renderChat', options.tools)
    const { text, mark } = await this.#render(messages, options, options.addGenerationPrompt ?? true)
    return text.replaceAll(mark, '')
  }

  #render(
    messages: readonly ChatMessage[],
    { tools, template, variables }: ChatOptions,
    addGenerationPrompt: boolean,
  ): Promise<Rendered> {
    const { chatTemplates, specialTokens, bosToken, eosToken } = this.info
    const setup = { templates: chatTemplates, specialTokens, bosToken, eosToken }
    return render('chat', messages, setup, { tools, template, variables, addGenerationPrompt })
  }

  /**
   * Continues a prompt to its end, or to `n` ends. Takes what `generate` takes, and `beams`.
   *
   * @throws {ConstraintError} when `options.constraint` cannot be compiled, naming the place in it
   * @example
   * const schema = { type: 'object', properties: { age: { type: 'integer' } }, required: ['age'] } as const
   * const { value } = await model.complete('Juliet: ', { constraint: { json: schema } }) // value?.age is a number
   */
  async complete<const C extends Constraint | undefined = undefined>(
    prompt: string | readonly number[],
    options: CompleteOptions & { constraint?: C } = {},
  ): Promise<Completion<C>> {
    const request = generateRequest('complete', prompt, options)
    const pieces: Piece[][] = Array.from({ length: request.samples }, () => [])
    const onPieces = (more: Piece[]) => {
      for (const piece of more) pieces[piece.choice]!.push(piece)
    }
    const finished = await this.#within('complete', options, (signal) =>
      this.#engine.request<'generate'>(request, { signal, onPieces }),
    )
    const choices = finished.choices.map((choice, i): Choice<C> => {
      const text = pieces[i]!.map((piece) => piece.text).join('')
      const ids = pieces[i]!.map((piece) => piece.id)
      return {
        text,
        value: constrainedValue(options.constraint, text, choice.finishReason),
        ids,
        ...choice,
        pieces: pieces[i]!,
      }
    })
    return { ...choices[0]!, choices, usage: finished.usage, promptTokens: finished.promptTokens }
  }

  /** The most probable next tokens, the likeliest first. `top` from 1 to the vocabulary's size, 10 by default. */
  async nextTokens(
    prompt: string | readonly number[],
    options: { top?: number } & RequestOptions = {},
  ): Promise<NextToken[]> {
    checkOptions('nextTokens', options)
    checkInteger('nextTokens: top', options.top, 1, 2 ** 31)
    const place = placeOptions('nextTokens', options)
    const top = Math.min(options.top ?? 10, this.vocabSize)
    const request = { type: 'nextTokens', prompt: checkPrompt('nextTokens', prompt), top, ...place } as const
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
    const { priority } = placeOptions('logits', options)
    const request = { type: 'logits', prompt: checkPrompt('logits', prompt), priority } as const
    return this.#within('logits', options, (signal) => this.#engine.request<'logits'>(request, { signal }))
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
    const { priority } = placeOptions('embed', options)
    checkChoice('embed: pooling', options.pooling, ['mean', 'last'])
    checkBoolean('embed: normalize', options.normalize)
    const all = typeof texts === 'string' ? [texts] : texts
    if (!Array.isArray(all))
      throw invalidType('embed: texts', 'a string or an array of texts or token ids', texts)
    if (all.length === 0 || all.length > 2 ** 16)
      throw invalidValue('embed: texts', `from 1 to ${2 ** 16} of them`, all.length)
    const request = {
      type: 'embed',
      prompts: Array.from(all, (text) => checkPrompt('embed', text)), // of holes, too
      pooling: options.pooling ?? 'mean',
      normalize: options.normalize ?? true,
      priority,
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
    checkBoolean('tokenize: addSpecialTokens', options.addSpecialTokens)
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

  /**
   * Computes a prompt and gives what modules within the model made of it, by module path: `h.3`, `h.*.attn.probabilities`;
   * `*` stands for anything within a part of a path, `**` for any parts. `model.capturable` lists all paths.
   *
   * @throws {RangeError} when a path is none of the model's, naming the nearest
   * @example
   * const { values } = await model.trace('ROMEO:', { capture: ['layers.*.self_attn.probabilities'] })
   */
  async trace(
    prompt: string | readonly number[],
    options: { capture: readonly string[] } & RequestOptions,
  ): Promise<Trace> {
    checkOptions('trace', options)
    return trace(this.#graph, options.capture, this.#runGraph('trace', prompt, options))
  }

  /** The module paths that `trace` can capture. */
  get capturable(): string[] {
    return capturable(this.#graph)
  }

  /** What the model would expect next if it ended with each of its blocks. `top` from 1 to 100, 5 by default. */
  async logitLens(
    prompt: string | readonly number[],
    options: { top?: number } & RequestOptions = {},
  ): Promise<LogitLens> {
    checkOptions('logitLens', options)
    checkInteger('logitLens: top', options.top, 1, 100)
    const top = Math.min(options.top ?? 5, this.vocabSize)
    return logitLens(this.#graph, top, {
      run: this.#runGraph('logitLens', prompt, options),
      display: (ids) => this.#engine.request<'display'>({ type: 'display', ids }),
    })
  }

  #runGraph(where: string, prompt: string | readonly number[], options: RequestOptions): RunGraph {
    const { priority } = placeOptions(where, options)
    const checked = checkPrompt(where, prompt)
    return (graph, outputs) =>
      this.#within(where, options, (signal) =>
        this.#engine.request<'graph'>(
          { type: 'graph', prompt: checked, graph, outputs, priority },
          { signal },
        ),
      )
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
  ): AsyncGenerator<Piece, Finished, void> {
    const deadline = new Deadline('generate', options)
    const ended = new AbortController()
    const flag = requestFlags()
    const queue = new PieceQueue((isFull) => {
      Atomics.store(flag, flags.pause, isFull ? 1 : 0)
      this.#engine.wake()
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
      return await work
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
