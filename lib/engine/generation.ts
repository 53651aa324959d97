import type { CompiledConstraint } from '../constraints/index.js'
import { ContextFullError, invalidValue, OutOfMemoryError } from '../errors.js'
import { blockTokens } from '../graph/graph.js'
import type { Tokenizer } from '../tokenizer/index.js'
import type { BlockPool } from './block-pool.js'
import { Continuation } from './continuation.js'
import type { Acceptances } from './drafter.js'
import type { Finished, GenerateRequest, Piece, Prompt } from './messages.js'
import { Sequence } from './sequence.js'
import type { StatsCounter } from './stats.js'

/** What requests need to know of the model. */
export interface ModelContext {
  tokenizer: Tokenizer | null
  vocabSize: number
  contextLength: number
  eosIds: ReadonlySet<number>
  pool: BlockPool
  stats: StatsCounter
  /** What is known of guesses in all texts. */
  acceptances: Acceptances
  compileConstraint(constraint: NonNullable<GenerateRequest['constraint']>): CompiledConstraint
  /** Copies blocks of the cache: (from, to) pairs. */
  copyBlocks(pairs: readonly number[]): void
}

/** A prompt's ids, checked against vocabulary, context and cache. */
export function promptIds(where: string, prompt: Prompt, context: ModelContext): number[] {
  const ids = Array.isArray(prompt) ? prompt : encode(where, prompt, context)
  if (ids.length === 0) throw invalidValue(`${where}: prompt`, 'at least one token', 'none')
  checkIds(`${where}: prompt`, ids, context)
  if (ids.length > context.contextLength) {
    throw new ContextFullError(
      `${where}: prompt must be at most ${context.contextLength} tokens, got ${ids.length}`,
    )
  }
  checkCache(where, ids.length, context)
  return ids
}

export function checkIds(where: string, ids: readonly number[], { vocabSize }: ModelContext): void {
  for (const id of ids) {
    if (!(Number.isInteger(id) && id >= 0 && id < vocabSize))
      throw invalidValue(where, `ids from 0 to ${vocabSize - 1}`, id)
  }
}

/** @throws {OutOfMemoryError} when `tokens` tokens of one sequence are more than the cache can ever hold */
export function checkCache(where: string, tokens: number, { pool }: ModelContext): void {
  const needed = Math.ceil(tokens / blockTokens)
  if (needed <= pool.size) return
  throw new OutOfMemoryError(
    `${where}: ${tokens} tokens need ${needed} blocks of the KV cache, which has ${pool.size} of ` +
      `${blockTokens} tokens each; load the model with a larger cacheBytes`,
  )
}

/** The most tokens a text may have, its prompt's included: the last one needs no room in the cache. */
export function mostTokens(
  { maxTokens }: GenerateRequest,
  promptLength: number,
  { contextLength, pool }: ModelContext,
): number {
  const room = Math.min(contextLength, pool.size * blockTokens) + 1
  return Math.min(promptLength + maxTokens, room)
}

function encode(where: string, prompt: Exclude<Prompt, number[]>, { tokenizer }: ModelContext): number[] {
  if (!tokenizer)
    throw invalidValue(`${where}: prompt`, 'token ids, since the model has no tokenizer', 'text')
  if (typeof prompt === 'string') return tokenizer.encode(prompt)
  const { rendered, mark } = prompt
  return tokenizer.encode(rendered, { addSpecialTokens: false, parseSpecialTokens: true, mark })
}

/** A request to continue a prompt, once or `n` times. */
export class Generation {
  readonly request: GenerateRequest
  readonly context: ModelContext
  readonly promptLength: number
  readonly continuations: Continuation[]
  /** Called with each token as soon as it is there. */
  readonly emit: (piece: Piece) => void
  readonly #arrivedAt: number
  #startedAt = 0
  #prefilledAt = 0
  #cachedTokens = 0

  constructor(
    request: GenerateRequest,
    context: ModelContext,
    { arrivedAt, emit }: { arrivedAt: number; emit: (piece: Piece) => void },
  ) {
    const ids = promptIds('generate', request.prompt, context)
    this.request = request
    this.context = context
    this.promptLength = ids.length
    this.emit = emit
    this.#arrivedAt = arrivedAt
    if (request.maxTokens < context.contextLength - ids.length)
      checkCache('generate', ids.length + request.maxTokens - 1, context)
    checkBias(request, context)
    // What is computed for the prompt's own log probabilities must be computed.
    const reusesPrefix = request.reusesPrefix && request.promptTop === undefined
    this.continuations = [new Continuation(this, new Sequence(ids, { salt: request.salt, reusesPrefix }), 0)]
  }

  get finished(): boolean {
    return (
      this.continuations.length === this.request.samples &&
      this.continuations.every((one) => one.finishReason !== undefined)
    )
  }

  /** The most tokens a text may have, its prompt's included. */
  get mostTokens(): number {
    return mostTokens(this.request, this.promptLength, this.context)
  }

  /** Its first tokens were fed, of which `cached` were there already. */
  started(cached: number): void {
    if (this.#startedAt > 0) return
    this.#startedAt = performance.now()
    this.#cachedTokens = cached
    this.context.stats.started(this.#startedAt - this.#arrivedAt, cached)
  }

  /** Adds the tokens that a constraint wants first. Where that is all, no step is needed. */
  begin(): void {
    const [first] = this.continuations as [Continuation]
    first.begin()
    if (!first.finishReason) return
    this.started(0)
    this.begunBy(first)
  }

  /**
   * `one` has tokens now. With the first of its texts the prompt's keys and values are in the cache, and the others can
   * begin: returns them.
   */
  begunBy(one: Continuation): Continuation[] {
    if (one !== this.continuations[0] || one.generated === 0 || this.#prefilledAt > 0) return []
    this.#prefilledAt = performance.now()
    this.context.stats.firstToken(this.#prefilledAt - this.#arrivedAt)
    const copies: number[] = []
    const others = Array.from({ length: this.request.samples - 1 }, (_, i) => one.sibling(i + 1, copies))
    this.continuations.push(...others) // before anything can fail, so that their blocks are given back with the others'
    this.context.copyBlocks(copies)
    for (const one of others) one.begin()
    return others
  }

  result(): Finished {
    const sum = (of: (one: Continuation) => number) =>
      this.continuations.reduce((total, one) => total + of(one), 0)
    return {
      choices: this.continuations.map(({ finishReason, logprob }) => ({
        finishReason: finishReason ?? 'length',
        logprob,
      })),
      usage: {
        promptTokens: this.promptLength,
        cachedTokens: this.#cachedTokens,
        completionTokens: sum((one) => one.generated),
        queueMs: this.#startedAt - this.#arrivedAt,
        prefillMs: this.#prefilledAt - this.#startedAt,
        decodeMs: performance.now() - this.#prefilledAt,
        draftedTokens: sum((one) => one.drafted),
        acceptedTokens: sum((one) => one.accepted),
      },
      promptTokens: this.continuations[0]!.promptTokens,
    }
  }
}

function checkBias({ logitBias }: GenerateRequest, context: ModelContext): void {
  checkIds(
    'generate: logitBias',
    logitBias.map(([id]) => id),
    context,
  )
}
