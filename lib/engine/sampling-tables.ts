import type { LogitEdits } from './logit-edits.js'
import type { SamplingOptions } from './messages.js'

/** The most alternatives that a row can tell. */
export const maxTop = 64

/** A share of probability that f32 tells from none. */
const leastShare = 1e-30

/** What only some rows ask for, and the plain program does not know. */
export interface RowControls {
  /** Tokens of the logits that get another value, if any. */
  edits: LogitEdits | null
  /** A bit for each token that may be chosen; all may where null. */
  mask: Int32Array | null
  /** The token whose log probability is wanted, -1 to choose one. */
  forced: number
  /** How many of the likeliest tokens to tell, at most `maxTop`. */
  top: number
}

/** How one row's token is chosen. */
export interface SampledRow {
  sampling: SamplingOptions
  /** The position that the token will have. */
  position: number
  controls: RowControls | null
}

type Tables = Record<string, Int32Array | Float32Array>

/** The tables that say how the tokens of a step are chosen, written anew for every step. */
export class SamplingTables {
  readonly #maskWords: number
  readonly #temperature: Float32Array
  readonly #topK: Int32Array
  readonly #topP: Float32Array
  readonly #minP: Float32Array
  readonly #typicalP: Float32Array
  readonly #seed: Int32Array
  readonly #counter: Int32Array
  readonly #forced: Int32Array
  readonly #topCounts: Int32Array
  readonly #maskRows: Int32Array
  readonly #editStarts: Int32Array
  #masks = new Int32Array(0)
  #editIds = new Int32Array(0)
  #editFactors = new Float32Array(0)
  #editOffsets = new Float32Array(0)

  constructor(rows: number, vocabSize: number) {
    this.#maskWords = Math.ceil(vocabSize / 32)
    this.#temperature = new Float32Array(rows)
    this.#topK = new Int32Array(rows)
    this.#topP = new Float32Array(rows)
    this.#minP = new Float32Array(rows)
    this.#typicalP = new Float32Array(rows)
    this.#seed = new Int32Array(rows * 2)
    this.#counter = new Int32Array(rows)
    this.#forced = new Int32Array(rows)
    this.#topCounts = new Int32Array(rows)
    this.#maskRows = new Int32Array(rows)
    this.#editStarts = new Int32Array(rows + 1)
  }

  /** The inputs of the plain program. */
  fill(rows: readonly SampledRow[]): Tables {
    const R = rows.length
    for (let r = 0; r < R; r++) {
      const { sampling, position } = rows[r]!
      this.#temperature[r] = sampling.temperature
      this.#topK[r] = sampling.topK
      this.#topP[r] = Math.max(sampling.topP, leastShare)
      this.#minP[r] = sampling.minP
      this.#typicalP[r] = Math.max(sampling.typicalP, leastShare)
      this.#seed[2 * r] = sampling.seed[0]
      this.#seed[2 * r + 1] = sampling.seed[1]
      this.#counter[r] = position
    }
    return {
      temperature: this.#temperature.subarray(0, R),
      topK: this.#topK.subarray(0, R),
      topP: this.#topP.subarray(0, R),
      minP: this.#minP.subarray(0, R),
      seed: this.#seed.subarray(0, 2 * R),
      counter: this.#counter.subarray(0, R),
    }
  }

  /** Those and the others, of the program that knows all controls. */
  fillControlled(rows: readonly SampledRow[]): Tables {
    const R = rows.length
    for (let r = 0; r < R; r++) {
      const { controls } = rows[r]!
      this.#forced[r] = controls?.forced ?? -1
      this.#topCounts[r] = controls?.top ?? 0
    }
    return {
      ...this.fill(rows),
      ...this.#fillEdits(rows),
      ...this.#fillMasks(rows),
      typicalP: this.#typicalP.subarray(0, R),
      forced: this.#forced.subarray(0, R),
      topCounts: this.#topCounts.subarray(0, R),
    }
  }

  #fillEdits(rows: readonly SampledRow[]): Tables {
    const E = rows.reduce((sum, { controls }) => sum + (controls?.edits?.count ?? 0), 0)
    if (E > this.#editIds.length) {
      this.#editIds = new Int32Array(2 * E)
      this.#editFactors = new Float32Array(2 * E)
      this.#editOffsets = new Float32Array(2 * E)
    }
    let at = 0
    for (let r = 0; r < rows.length; r++) {
      const edits = rows[r]!.controls?.edits
      if (edits) {
        this.#editIds.set(edits.ids, at)
        this.#editFactors.set(edits.factors, at)
        this.#editOffsets.set(edits.offsets, at)
        at += edits.count
      }
      this.#editStarts[r + 1] = at
    }
    return {
      editStarts: this.#editStarts.subarray(0, rows.length + 1),
      editIds: this.#editIds.subarray(0, E),
      editFactors: this.#editFactors.subarray(0, E),
      editOffsets: this.#editOffsets.subarray(0, E),
    }
  }

  #fillMasks(rows: readonly SampledRow[]): Tables {
    const masks = rows.flatMap(({ controls }) => controls?.mask ?? [])
    const M = masks.length
    if (M * this.#maskWords > this.#masks.length) this.#masks = new Int32Array(2 * M * this.#maskWords)
    for (let m = 0; m < M; m++) this.#masks.set(masks[m]!, m * this.#maskWords)
    let next = 0
    for (let r = 0; r < rows.length; r++) this.#maskRows[r] = rows[r]!.controls?.mask ? next++ : -1
    return {
      maskRows: this.#maskRows.subarray(0, rows.length),
      masks: this.#masks.subarray(0, M * this.#maskWords),
    }
  }
}
