import { blockTokens } from '#kvasir/graph/graph.js'
import { Random } from './random.js'

export type StepInputs = Record<string, Int32Array | Float32Array>

/** Sequences that grow step by step, their blocks lying in random places of the cache. */
export class Sequences {
  #random: Random
  #tokens: number[][] = []
  #blocks: number[][] = []
  #freeBlocks: number[]
  #vocabSize: number

  constructor(seed: number, vocabSize: number) {
    this.#random = new Random(seed)
    this.#vocabSize = vocabSize
    this.#freeBlocks = this.#random.shuffle(Array.from({ length: 64 }, (_, block) => block))
  }

  /**
   * The inputs of a step that adds `counts[s]` random tokens to sequence s; a count of 0 leaves it in the step without
   * tokens. Every row is an output row.
   */
  step(counts: readonly number[]): StepInputs {
    const tokens: number[] = []
    const positions: number[] = []
    const queryStarts = [0]
    counts.forEach((count, s) => {
      this.#tokens[s] ??= []
      const sequence = this.#tokens[s]
      for (let i = 0; i < count; i++) {
        positions.push(sequence.length)
        tokens.push(this.#random.integer(0, this.#vocabSize - 1))
        sequence.push(tokens.at(-1)!)
      }
      this.#reserve(s)
      queryStarts.push(tokens.length)
    })
    const rows = tokens.map((_, n) => n)
    return {
      tokens: Int32Array.from(tokens),
      positions: Int32Array.from(positions),
      queryStarts: Int32Array.from(queryStarts),
      contextLengths: Int32Array.from(counts, (_, s) => this.#tokens[s].length),
      blockTables: this.#blockTables(counts.length),
      outputRows: Int32Array.from(rows),
      ...this.#sampling(rows.length),
    }
  }

  #reserve(s: number): void {
    this.#blocks[s] ??= []
    const blocks = this.#blocks[s]
    while (blocks.length * blockTokens < this.#tokens[s].length) blocks.push(this.#freeBlocks.pop()!)
  }

  #blockTables(S: number): Int32Array {
    const W = Math.max(1, ...this.#blocks.slice(0, S).map((blocks) => blocks.length))
    return Int32Array.from({ length: S * W }, (_, i) => this.#blocks[Math.floor(i / W)][i % W] ?? -1)
  }

  #sampling(R: number): StepInputs {
    const random = this.#random
    return {
      temperature: Float32Array.from({ length: R }, () => random.pick([0, 0.5, 1])),
      topK: Int32Array.from({ length: R }, () => random.pick([0, 3])),
      topP: Float32Array.from({ length: R }, () => random.pick([1, 0.7])),
      minP: Float32Array.from({ length: R }, () => random.pick([0, 0.1])),
      seed: Int32Array.from({ length: 2 * R }, () => random.integer(-(2 ** 31), 2 ** 31 - 1)),
      counter: Int32Array.from({ length: R }, () => random.integer(0, 1000)),
    }
  }
}
