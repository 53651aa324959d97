import type { ConstraintMatcher } from '../constraints/index.js'
import { KvasirError, NumericError } from '../errors.js'
import { encodeWithin } from '../tokenizer/index.js'
import { Drafter } from './drafter.js'
import { seedWords } from './generate-options.js'
import { GeneratedText } from './generated-text.js'
import type { Generation } from './generation.js'
import { editsFor, type LogitEdits } from './logit-edits.js'
import type { Alternative, FinishReason, PromptToken, SamplingOptions } from './messages.js'
import { flags } from './messages.js'
import type { SampledRows } from './model-runner.js'
import type { SampleTask } from './sample-task.js'
import type { RowControls, SampledRow } from './sampling-tables.js'
import { maxTop } from './sampling-tables.js'
import type { Chunk } from './scheduler.js'
import type { Sequence } from './sequence.js'

/** One text that continues a request's prompt. */
export class Continuation implements SampleTask {
  readonly kind = 'sample'
  readonly sequence: Sequence
  finishReason: FinishReason | undefined
  /** Sum of its tokens' log probabilities. */
  logprob = 0
  generated = 0
  drafted = 0
  accepted = 0
  /** Of the prompt's tokens but the first, where they were asked for. */
  readonly promptTokens: PromptToken[] | undefined
  readonly generation: Generation
  readonly drafter: Drafter | null
  readonly #choice: number
  readonly #sampling: SamplingOptions
  readonly #text: GeneratedText
  readonly #edits: LogitEdits | null
  readonly #matcher: ConstraintMatcher | undefined
  readonly #mask: Int32Array | null
  #tokenAt = 0

  /** @param choice which of the request's texts it is */
  constructor(generation: Generation, sequence: Sequence, choice: number) {
    const { request, context } = generation
    this.generation = generation
    this.sequence = sequence
    this.#choice = choice
    this.#sampling = { ...request.sampling, seed: advanceSeed(request.sampling.seed, choice) }
    this.#text = new GeneratedText(request, context.tokenizer, sequence.ids)
    this.#edits = editsFor(request, sequence.ids)
    this.#matcher = request.constraint && context.compileConstraint(request.constraint).start()
    this.#mask = this.#matcher ? new Int32Array(Math.ceil(context.vocabSize / 32)) : null
    this.promptTokens = request.promptTop === undefined || choice > 0 ? undefined : []
    this.drafter =
      request.speculates && this.#isPlain ? new Drafter(sequence, request, context.acceptances) : null
  }

  /** Another text of the same prompt, of which this one has just sampled its first token. */
  sibling(choice: number, copies: number[]): Continuation {
    const { promptLength, context } = this.generation
    const sequence = this.sequence.fork(promptLength - 1, context.pool, copies)
    sequence.ids.push(this.sequence.ids[promptLength - 1]!)
    return new Continuation(this.generation, sequence, choice)
  }

  /** Adds the tokens that must come first. */
  begin(): void {
    this.#addForced()
  }

  get priority(): number {
    return this.generation.request.priority
  }

  get waits(): boolean {
    return this.finishReason !== undefined || Atomics.load(this.generation.request.flag, flags.pause) !== 0
  }

  /** Steps that may be run ahead of what is known: 1 where each token decides about the next in some other way. */
  get mostAhead(): number {
    return this.#isPlain ? this.generation.mostTokens - this.sequence.ids.length : 1
  }

  drafts(most: number): readonly number[] {
    if (this.#wantsPromptRows) return [] // its rows are those of the prompt's tokens
    return this.drafter?.drafts(Math.min(most, this.mostAhead - 1)) ?? []
  }

  rows(count: number, drafts: number): number {
    if (this.#wantsPromptRows) return count
    return count === this.sequence.pending ? 1 + drafts : 0
  }

  choices({ count, rows }: Chunk): SampledRow[] {
    const { sequence } = this
    const end = sequence.computed + count // what follows are drafts
    const choices: SampledRow[] = []
    const promptRows = this.#wantsPromptRows ? Math.min(rows, sequence.ids.length - 1 - sequence.computed) : 0
    for (let i = 0; i < promptRows; i++) choices.push(this.#promptRow(sequence.computed + i + 1))
    const controls = choices.length < rows ? this.#controls() : null
    for (let i = 0; choices.length < rows; i++)
      choices.push({ sampling: this.#sampling, position: end + i, controls })
    return choices
  }

  take(chunk: Chunk, sampled: SampledRows, first: number): void {
    const { sequence } = this
    const { context } = this.generation
    this.generation.started(sequence.computed)
    const start = sequence.computed
    let row = first
    if (this.#wantsPromptRows)
      for (; row < first + chunk.rows && start + row - first < sequence.ids.length - 1; row++)
        this.#takePromptRow(start + row - first + 1, sampled, row)
    if (start < this.generation.promptLength) context.stats.count('promptTokens', chunk.count)
    let computed = start + chunk.count
    if (row < first + chunk.rows) computed += this.#takeSampled(chunk, sampled, row)
    sequence.commit(computed, context.pool)
  }

  settle(): { begun: SampleTask[]; ended: SampleTask[] } {
    return { begun: this.generation.begunBy(this), ended: this.finishReason ? [this] : [] }
  }

  /** Takes the steps that ran ahead: their rows, `stride` apart, from `first` on. */
  takeAhead(sampled: SampledRows, first: number, stride: number): void {
    this.generation.started(this.sequence.computed)
    let { computed } = this.sequence
    for (let row = first; row < sampled.ids.length && !this.finishReason; row += stride, computed++)
      this.#push(sampled.ids[row]!, sampled.logprobs[row]!, undefined)
    this.sequence.commit(computed, this.generation.context.pool)
  }

  /** Takes the token that was sampled, and those after it as long as the drafts were right; the number of those. */
  #takeSampled({ drafts }: Chunk, sampled: SampledRows, row: number): number {
    let right = 0
    for (;;) {
      const id = sampled.ids[row + right]!
      this.#push(id, sampled.logprobs[row + right]!, this.#topOf(sampled, row + right))
      if (this.finishReason || drafts[right] !== id) break
      right++
    }
    if (drafts.length > 0) this.drafter?.learn(drafts.length, right)
    this.drafted += drafts.length
    this.accepted += right
    this.generation.context.stats.count('draftedTokens', drafts.length)
    this.generation.context.stats.count('acceptedTokens', right)
    return right
  }

  #push(id: number, logprob: number, top: Alternative[] | undefined): void {
    if (id < 0) throw this.#nothingToChoose()
    const { request, context } = this.generation
    this.#add(id, logprob, top, !request.ignoreEos && context.eosIds.has(id))
    this.#addForced()
  }

  /** Adds the tokens that the constraint leaves no choice about, without asking the model. */
  #addForced(): void {
    const { request, context } = this.generation
    while (!this.finishReason && request.top === undefined) {
      const forced = this.#matcher?.forcedTokens(textEncoder(context)) ?? []
      if (forced.length === 0) return
      for (const next of forced) if (!this.finishReason) this.#add(next, 0, undefined, false)
    }
  }

  /** One more token, which is told the caller. */
  #add(id: number, logprob: number, top: Alternative[] | undefined, isEnd: boolean): void {
    const { sequence } = this
    const { mostTokens, emit, context } = this.generation
    sequence.ids.push(id)
    this.generated++
    this.logprob += logprob
    this.#edits?.add(id)
    if (!isEnd) this.#matcher?.advance(id)
    const isComplete = isEnd || this.#matcher?.mustEnd === true
    const isLast = isComplete || sequence.ids.length >= mostTokens
    const { text, stopped } = this.#text.push(id, { last: isLast, isEnd })
    if (isComplete || stopped) this.finishReason = 'stop'
    else if (isLast) this.finishReason = 'length'
    const piece = { text, id, logprob, choice: this.#choice }
    emit(top ? { ...piece, top } : piece)
    this.#tokenAt = context.stats.token(this.#tokenAt)
  }

  #controls(): RowControls | null {
    const { request } = this.generation
    if (this.#isPlain) return null
    return { edits: this.#edits, mask: this.#allowed(), forced: -1, top: request.top ?? 0 }
  }

  /** Whether the program without controls does. */
  get #isPlain(): boolean {
    const { sampling, top } = this.generation.request
    return !this.#edits && !this.#matcher && !top && sampling.typicalP >= 1
  }

  /** The tokens that the constraint allows now. */
  #allowed(): Int32Array | null {
    const matcher = this.#matcher
    const mask = this.#mask
    if (!matcher || !mask) return null
    const { request, context } = this.generation
    matcher.mask(mask)
    if (matcher.mayEnd && !request.ignoreEos)
      for (const id of context.eosIds) mask[id >> 5]! |= 1 << (id & 31)
    return mask
  }

  get #wantsPromptRows(): boolean {
    return this.promptTokens !== undefined && this.sequence.computed < this.generation.promptLength
  }

  #promptRow(position: number): SampledRow {
    const { request } = this.generation
    const forced = this.sequence.ids[position]!
    const controls = { edits: null, mask: null, forced, top: request.promptTop ?? 0 }
    return { sampling: this.#sampling, position, controls }
  }

  #takePromptRow(position: number, sampled: SampledRows, row: number): void {
    if (position >= this.generation.promptLength) return // a forced token
    const id = this.sequence.ids[position]!
    if (sampled.ids[row]! < 0) throw this.#nothingToChoose()
    this.promptTokens![position - 1] = {
      id,
      text: this.#display(id),
      logprob: sampled.logprobs[row]!,
      top: this.#alternatives(sampled, row, this.generation.request.promptTop ?? 0),
    }
  }

  #topOf(sampled: SampledRows, row: number): Alternative[] | undefined {
    const { top } = this.generation.request
    return top === undefined ? undefined : this.#alternatives(sampled, row, top)
  }

  #alternatives({ topIds, topLogprobs }: SampledRows, row: number, count: number): Alternative[] {
    const alternatives: Alternative[] = []
    for (let at = row * maxTop; at < row * maxTop + count; at++) {
      const id = topIds?.[at] ?? -1
      if (id < 0) break
      alternatives.push({ id, text: this.#display(id), logprob: topLogprobs![at]! })
    }
    return alternatives
  }

  #display(id: number): string {
    return this.generation.context.tokenizer?.display(id) ?? ''
  }

  #nothingToChoose(): Error {
    if (this.#matcher || this.#edits) {
      return new NumericError(
        'generate: no token can be chosen: constraint, logitBias and penalties leave none, or the logits hold NaN',
      )
    }
    return new NumericError('generate: the logits hold NaN or infinity, or nothing finite')
  }
}

/** The seed of a request's i-th text. */
function advanceSeed([low, high]: [number, number], by: number): [number, number] {
  return by === 0 ? [low, high] : seedWords(((high >>> 0) * 2 ** 32 + (low >>> 0) + by) % 2 ** 53)
}

/** Text given as bytes to ids, as the tokenizer splits it in the midst of another. */
function textEncoder({ tokenizer }: Generation['context']): (bytes: Uint8Array) => number[] {
  return (bytes) => {
    if (!tokenizer) throw new KvasirError('ERR_INTERNAL', 'generate: a constraint without a tokenizer')
    return encodeWithin(tokenizer, bytes)
  }
}
