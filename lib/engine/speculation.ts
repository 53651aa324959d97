import { allocateDrafts } from './draft-allocation.js'
import type { DraftModel } from './draft-model.js'
import type { Drafter, Offer } from './drafter.js'
import type { SampleTask } from './sample-task.js'
import type { Chunk } from './scheduler.js'
import { StepCosts } from './step-costs.js'

export interface SpeculationCounts {
  /** Steps that verified guesses. */
  steps: number
  /** What a draft model took, in milliseconds. */
  draftingMs: number
  /** What steps that only decode would have taken for the same tokens, less what guessing and verifying took. */
  savedMs: number
}

/** A text that can be guessed. */
interface Candidate {
  task: SampleTask
  drafter: Drafter
  offer: Offer | undefined
  /** Tokens to guess. */
  count: number
}

/** Decides which tokens are guessed before each step, so that verifying them gains, and learns from what steps take. */
export class Speculation {
  readonly #model: DraftModel | null
  readonly #costs = new StepCosts()
  readonly #counts: SpeculationCounts = { steps: 0, draftingMs: 0, savedMs: 0 }
  /** Spent on guesses that have not been verified yet. */
  #draftingMs = 0

  constructor(model: DraftModel | null) {
    this.#model = model
  }

  get counts(): SpeculationCounts & { draftBlocks: number } {
    return { ...this.#counts, draftBlocks: this.#model?.usedBlocks ?? 0 }
  }

  /** Guesses what may come next in texts that are each about to be continued by a token; `most` guesses in all. */
  prepare(decoding: readonly SampleTask[], most: number): void {
    this.#model?.keepOnly(decoding)
    const candidates: Candidate[] = []
    for (const task of decoding) {
      const { drafter } = task
      if (drafter) candidates.push({ task, drafter, offer: undefined, count: 0 })
    }
    if (candidates.every(({ drafter }) => drafter.isDecided)) return
    for (const candidate of candidates) candidate.offer = this.#offerOf(candidate)
    this.#decide(candidates, decoding.length, most)
  }

  /** A step was run and its tokens taken; it took so many milliseconds of native code, as one of several where it ran ahead. */
  ran(chunks: readonly Chunk<SampleTask>[], ms: number): void {
    const draftingMs = this.#draftingMs
    this.#draftingMs = 0
    if (chunks.some(({ count }) => count !== 1)) return
    const drafts = chunks.reduce((sum, chunk) => sum + chunk.drafts.length, 0)
    this.#costs.record(chunks.length + drafts, ms)
    if (drafts === 0) return
    this.#counts.steps++
    const plainMs = this.#costs.measured(chunks.length)
    if (plainMs === undefined) return
    const right = chunks.reduce(
      (sum, { drafts, task }) => sum + (drafts.length > 0 ? task.drafter!.right : 0),
      0,
    )
    this.#counts.savedMs += (plainMs * (chunks.length + right)) / chunks.length - ms - draftingMs
  }

  #offerOf({ task, drafter }: Candidate): Offer | undefined {
    const modelled = this.#model ? this.#model.contextLength - task.sequence.ids.length : 0
    return drafter.offer(task.mostAhead - 1, modelled)
  }

  #decide(candidates: readonly Candidate[], sequences: number, most: number): void {
    const offering = candidates.filter(({ offer }) => offer !== undefined)
    const offers = offering.map(({ offer }) => offer!)
    const counts = this.#allocate(offers, sequences, most)
    for (const [i, candidate] of offering.entries()) candidate.count = counts[i]!
    for (const { drafter, offer, count } of candidates) drafter.decide(offer, count)
    const modelled = offering.filter(({ offer, count }) => offer!.isModelled && count > 0)
    if (modelled.length > 0) this.#guess(modelled)
  }

  /** Nothing is guessed until it is known what a step without guesses takes. */
  #allocate(offers: readonly Offer[], sequences: number, most: number): number[] {
    if (offers.length === 0 || this.#costs.measured(sequences) === undefined) return offers.map(() => 0)
    const modelled = offers.filter(({ isModelled }) => isModelled).length
    return allocateDrafts(offers, {
      sequences,
      most,
      stepMs: (tokens) => this.#costs.expected(tokens)!,
      draftMs: (depth) => depth * (this.#model?.costs.expected(modelled) ?? 0),
    })
  }

  #guess(modelled: readonly Candidate[]): void {
    const model = this.#model!
    const before = model.nativeMs
    const guesses = model.guess(
      modelled.map(({ task }) => task),
      Math.max(...modelled.map(({ count }) => count)),
    )
    for (const { task, drafter, count } of modelled)
      drafter.setDrafts((guesses.get(task) ?? []).slice(0, count))
    const ms = model.nativeMs - before
    this.#draftingMs += ms
    this.#counts.draftingMs += ms
  }
}
