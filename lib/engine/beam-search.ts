import type { ConstraintMatcher } from '../constraints/index.js'
import { NumericError } from '../errors.js'
import { GeneratedText } from './generated-text.js'
import type { ModelContext } from './generation.js'
import { mostTokens, promptIds } from './generation.js'
import { editsFor, type LogitEdits } from './logit-edits.js'
import type { Finished, FinishReason, GenerateRequest, Piece } from './messages.js'
import type { SampledRows } from './model-runner.js'
import type { SampleTask } from './sample-task.js'
import type { SampledRow } from './sampling-tables.js'
import { maxTop } from './sampling-tables.js'
import type { Chunk } from './scheduler.js'
import { Sequence } from './sequence.js'

/** A token that a text was continued with. */
interface Token {
  id: number
  logprob: number
}

/** A text that may be kept. */
interface Candidate {
  parent: Beam
  token: Token
  /** Sum over all its tokens. */
  logprob: number
}

interface FinishedBeam {
  tokens: Token[]
  logprob: number
  finishReason: FinishReason
  score: number
}

/** One of the texts that a search keeps. */
class Beam implements SampleTask {
  readonly kind = 'sample'
  readonly sequence: Sequence
  readonly tokens: Token[]
  logprob: number
  /** The likeliest next tokens, once they are known. */
  next: Token[] | undefined
  readonly #search: BeamSearch
  readonly #edits: LogitEdits | null
  readonly #matcher: ConstraintMatcher | undefined
  readonly #mask: Int32Array | null

  constructor(
    search: BeamSearch,
    sequence: Sequence,
    state: {
      tokens: Token[]
      logprob: number
      edits: LogitEdits | null
      matcher: ConstraintMatcher | undefined
    },
  ) {
    this.#search = search
    this.sequence = sequence
    this.tokens = state.tokens
    this.logprob = state.logprob
    this.#edits = state.edits
    this.#matcher = state.matcher
    this.#mask = state.matcher ? new Int32Array(Math.ceil(search.context.vocabSize / 32)) : null
  }

  get priority(): number {
    return this.#search.request.priority
  }

  /** A beam that knows its next tokens waits for the others. */
  get waits(): boolean {
    return this.next !== undefined
  }

  drafts(): readonly number[] {
    return []
  }

  rows(count: number): number {
    return count === this.sequence.pending ? 1 : 0
  }

  choices({ rows }: Chunk): SampledRow[] {
    if (rows === 0) return []
    const controls = { edits: this.#edits, mask: this.#allowed(), forced: -1, top: this.#search.width * 2 }
    return [{ sampling: this.#search.request.sampling, position: this.sequence.ids.length, controls }]
  }

  take(chunk: Chunk, { topIds, topLogprobs }: SampledRows, first: number): void {
    this.#search.started(this.sequence.computed)
    if (this.sequence.computed < this.#search.promptLength)
      this.#search.context.stats.count('promptTokens', chunk.count)
    this.sequence.commit(this.sequence.computed + chunk.count, this.#search.context.pool)
    if (chunk.rows === 0) return
    this.next = []
    for (let at = first * maxTop; at < first * maxTop + this.#search.width * 2 && topIds![at]! >= 0; at++)
      this.next.push({ id: topIds![at]!, logprob: topLogprobs![at]! })
  }

  settle(): { begun: SampleTask[]; ended: SampleTask[] } {
    return this.#search.settle()
  }

  /** Its next step depends on the other beams. */
  readonly mostAhead = 1
  takeAhead(): void {}

  /** Goes on with a token, which may end it. */
  extend(token: Token, isEnd: boolean): void {
    this.next = undefined
    this.tokens.push(token)
    this.logprob += token.logprob
    this.sequence.ids.push(token.id)
    this.#edits?.add(token.id)
    if (!isEnd) this.#matcher?.advance(token.id)
  }

  /** Another beam with the same tokens so far. */
  fork(copies: number[]): Beam {
    return new Beam(
      this.#search,
      this.sequence.fork(this.sequence.ids.length, this.#search.context.pool, copies),
      {
        tokens: [...this.tokens],
        logprob: this.logprob,
        edits: this.#edits?.clone() ?? null,
        matcher: this.#matcher?.clone(),
      },
    )
  }

  /** Whether the constraint has nothing more to come. */
  get mustEnd(): boolean {
    return this.#matcher?.mustEnd === true
  }

  #allowed(): Int32Array | null {
    if (!this.#matcher || !this.#mask) return null
    this.#matcher.mask(this.#mask)
    if (this.#matcher.mayEnd) this.#search.allowEnds(this.#mask)
    return this.#mask
  }
}

/**
 * Looks for the text of greatest probability: of all continuations of the texts it keeps by one token, it keeps the `beams`
 * likeliest, until as many have ended as no other can overtake. Texts of different lengths are compared by their mean log
 * probability a token.
 */
export class BeamSearch {
  readonly request: GenerateRequest
  readonly context: ModelContext
  readonly promptLength: number
  /** The beams that go on. */
  readonly tasks: Beam[] = []
  readonly #finished: FinishedBeam[] = []
  readonly #arrivedAt: number
  readonly #emit: (piece: Piece) => void
  readonly #prompt: number[]
  #startedAt = 0
  #prefilledAt = 0
  #cachedTokens = 0
  #done = false

  constructor(
    request: GenerateRequest,
    context: ModelContext,
    { arrivedAt, emit }: { arrivedAt: number; emit: (piece: Piece) => void },
  ) {
    this.#prompt = promptIds('generate', request.prompt, context)
    this.request = request
    this.context = context
    this.promptLength = this.#prompt.length
    this.#arrivedAt = arrivedAt
    this.#emit = emit
    const { salt, reusesPrefix } = request
    this.tasks.push(
      new Beam(this, new Sequence(this.#prompt, { salt, reusesPrefix }), {
        tokens: [],
        logprob: 0,
        edits: editsFor(request, this.#prompt),
        matcher: request.constraint && context.compileConstraint(request.constraint).start(),
      }),
    )
  }

  /** Texts that are kept. */
  get width(): number {
    return this.request.beams
  }

  started(cached: number): void {
    if (this.#startedAt > 0) return
    this.#startedAt = performance.now()
    this.#cachedTokens = cached
    this.context.stats.started(this.#startedAt - this.#arrivedAt, cached)
  }

  allowEnds(mask: Int32Array): void {
    if (!this.request.ignoreEos) for (const id of this.context.eosIds) mask[id >> 5]! |= 1 << (id & 31)
  }

  /** Once every beam knows its next tokens: the beams that begin with the next step, and those that end with this one. */
  settle(): { begun: Beam[]; ended: Beam[] } {
    if (this.tasks.some((beam) => !beam.next)) return { begun: [], ended: [] }
    if (this.#prefilledAt === 0) {
      this.#prefilledAt = performance.now()
      this.context.stats.firstToken(this.#prefilledAt - this.#arrivedAt)
    }
    const before = [...this.tasks]
    const kept = this.#choose()
    this.tasks.length = 0
    if (!this.#isDecided(kept)) this.#continue(kept)
    this.#done = this.tasks.length === 0
    if (this.#done) this.#tell()
    return {
      begun: this.tasks.filter((beam) => !before.includes(beam)),
      ended: before.filter((beam) => !this.tasks.includes(beam)),
    }
  }

  result(): Finished | undefined {
    if (!this.#done) return undefined
    const best = this.#finished.slice(0, this.request.samples)
    return {
      choices: best.map(({ finishReason, logprob }) => ({ finishReason, logprob })),
      usage: {
        promptTokens: this.promptLength,
        cachedTokens: this.#cachedTokens,
        completionTokens: best.reduce((sum, { tokens }) => sum + tokens.length, 0),
        queueMs: this.#startedAt - this.#arrivedAt,
        prefillMs: this.#prefilledAt - this.#startedAt,
        decodeMs: performance.now() - this.#prefilledAt,
        draftedTokens: 0,
        acceptedTokens: 0,
      },
      promptTokens: undefined,
    }
  }

  /** Of all next tokens the likeliest texts that go on; those that end are noted. */
  #choose(): Candidate[] {
    const candidates = this.tasks.flatMap((parent) =>
      parent.next!.map((token) => ({ parent, token, logprob: parent.logprob + token.logprob })),
    )
    if (candidates.length === 0 && this.#finished.length === 0)
      throw new NumericError(
        'generate: no token can be chosen: constraint and logitBias leave none, or the logits hold NaN',
      )
    candidates.sort((a, b) => b.logprob - a.logprob)
    const kept: Candidate[] = []
    for (const candidate of candidates.slice(0, 2 * this.width)) {
      if (kept.length === this.width) break
      const isEnd = !this.request.ignoreEos && this.context.eosIds.has(candidate.token.id)
      if (isEnd) this.#finish([...candidate.parent.tokens, candidate.token], candidate.logprob, 'stop')
      else kept.push(candidate)
    }
    return kept
  }

  /** Whether enough texts have ended, and none that goes on is likelier a token than the last of them. */
  #isDecided(kept: readonly Candidate[]): boolean {
    const last = this.#finished[this.width - 1]
    const best = kept[0]
    if (!best) return true
    return last !== undefined && best.logprob / (best.parent.tokens.length + 1) <= last.score
  }

  #continue(kept: readonly Candidate[]): void {
    const copies: number[] = []
    const parents = new Set<Beam>()
    const forks = kept.map(({ parent }) => {
      if (!parents.has(parent)) {
        parents.add(parent)
        return parent
      }
      return parent.fork(copies)
    })
    this.context.copyBlocks(copies)
    for (const [i, beam] of forks.entries()) {
      beam.extend(kept[i]!.token, false)
      this.context.stats.token(0)
      if (!this.#endsNow(beam)) this.tasks.push(beam)
      else beam.sequence.release(this.context.pool)
    }
  }

  /** Ends a text that a stop string, its constraint or its length ends. */
  #endsNow(beam: Beam): boolean {
    const stopped = beam.mustEnd || (this.request.stop.length > 0 && this.#pieces(beam.tokens, false).stopped)
    const isLong = beam.sequence.ids.length >= mostTokens(this.request, this.promptLength, this.context)
    if (!stopped && !isLong) return false
    this.#finish(beam.tokens, beam.logprob, stopped ? 'stop' : 'length')
    return true
  }

  #finish(tokens: Token[], logprob: number, finishReason: FinishReason): void {
    this.#finished.push({ tokens: [...tokens], logprob, finishReason, score: logprob / tokens.length })
    this.#finished.sort((a, b) => b.score - a.score)
    this.#finished.length = Math.min(this.#finished.length, this.width)
  }

  /** Emits the best texts. */
  #tell(): void {
    for (const [choice, { tokens }] of this.#finished.slice(0, this.request.samples).entries())
      for (const piece of this.#pieces(tokens, true).pieces) this.#emit({ ...piece, choice })
  }

  #pieces(tokens: readonly Token[], isWhole: boolean) {
    const text = new GeneratedText(this.request, this.context.tokenizer, this.#prompt)
    let stopped = false
    const pieces = tokens.map((token, i) => {
      const isEnd = !this.request.ignoreEos && this.context.eosIds.has(token.id)
      const pushed = text.push(token.id, { last: isWhole && i === tokens.length - 1, isEnd })
      stopped ||= pushed.stopped
      return { ...token, text: pushed.text }
    })
    return { pieces, stopped }
  }
}
