import { describe, expect, it } from 'vitest'
import { Drafter, sharedAcceptances } from '#kvasir/engine/drafter.js'
import type { GenerateRequest } from '#kvasir/engine/messages.js'
import type { SampleTask } from '#kvasir/engine/sample-task.js'
import { Sequence } from '#kvasir/engine/sequence.js'
import { Speculation } from '#kvasir/engine/speculation.js'

/** Texts that are continued by a rule, on an engine whose steps take what a formula says. */
class Simulation {
  readonly #speculation = new Speculation(null)
  readonly #texts: { task: SampleTask; drafter: Drafter; nextId: (length: number) => number }[]
  ms = 0
  tokens = 0
  drafted = 0
  stepMs: (tokens: number) => number

  constructor(texts: readonly ((length: number) => number)[], stepMs: (tokens: number) => number) {
    this.stepMs = stepMs
    const shared = sharedAcceptances()
    this.#texts = texts.map((nextId) => {
      const sequence = new Sequence(Array.from({ length: 30 }, (_, i) => nextId(i)))
      sequence.computed = 29
      const drafter = new Drafter(sequence, {} as GenerateRequest, shared)
      const task = { sequence, drafter, kind: 'sample', mostAhead: 1e6 } as unknown as SampleTask
      return { task, drafter, nextId }
    })
  }

  /** Tokens a millisecond over some steps, in comparison with steps that guess nothing. */
  run(steps: number): { gain: number; drafted: number } {
    const [ms, tokens, drafted] = [this.ms, this.tokens, this.drafted]
    for (let i = 0; i < steps; i++) this.#step()
    const plain = this.#texts.length / this.stepMs(this.#texts.length)
    return { gain: (this.tokens - tokens) / (this.ms - ms) / plain, drafted: this.drafted - drafted }
  }

  get savedMs(): number {
    return this.#speculation.counts.savedMs
  }

  #step(): void {
    this.#speculation.prepare(
      this.#texts.map(({ task }) => task),
      100,
    )
    const chunks = this.#texts.map(({ task, drafter }) => {
      const drafts = drafter.drafts(8)
      return { task, count: 1, drafts, rows: 1 + drafts.length }
    })
    const ms = this.stepMs(chunks.reduce((sum, { rows }) => sum + rows, 0))
    for (const [i, { drafter, task, nextId }] of this.#texts.entries()) {
      const { drafts } = chunks[i]!
      let right = 0
      while (right < drafts.length && drafts[right] === nextId(task.sequence.ids.length + right)) right++
      for (let j = 0; j <= right; j++) task.sequence.ids.push(nextId(task.sequence.ids.length))
      if (drafts.length > 0) drafter.learn(drafts.length, right)
      this.tokens += right + 1
      this.drafted += drafts.length
    }
    this.ms += ms
    this.#speculation.ran(chunks, ms)
  }
}

/** The same numbers in every run. */
const hash = (n: number) => ((Math.imul(n ^ 0x5bd1e995, 0x85ebca6b) >>> 8) ^ (n * 31)) >>> 0
const repeats = (length: number) => (length % 12) + 1
const random = (length: number) => hash(length) % 6

describe('guessing', () => {
  it('is used where it gains', () => {
    const one = new Simulation([repeats], (tokens) => 10 + 0.5 * tokens)
    const { gain } = one.run(300)
    expect(gain).toBeGreaterThan(4)
    expect(one.savedMs).toBeGreaterThan(0)
  })

  it('stops where each token costs a step, but for trials', () => {
    const one = new Simulation([repeats], (tokens) => 10 * tokens)
    one.run(50)
    const { gain, drafted } = one.run(5000)
    expect(gain).toBeGreaterThan(0.98)
    expect(drafted).toBeLessThan(5000 * 0.05)
  })

  it('stops where it is wrong, but for trials', () => {
    const one = new Simulation([random], (tokens) => 10 + 2 * tokens)
    one.run(200)
    const { gain } = one.run(5000)
    expect(gain).toBeGreaterThan(0.97)
  })

  it('is for those of many texts that it suits', () => {
    const mixed = new Simulation([repeats, random, random, random], (tokens) => 20 + 2 * tokens)
    mixed.run(200)
    const { gain } = mixed.run(2000)
    expect(gain).toBeGreaterThan(1.3)
  })

  it('follows when steps come to cost something else', () => {
    const one = new Simulation([repeats], (tokens) => 10 * tokens)
    expect(one.run(200).gain).toBeLessThan(1.05)
    one.stepMs = () => 10
    one.run(2500)
    expect(one.run(100).gain).toBeGreaterThan(4)
    one.stepMs = (tokens) => 10 * tokens
    one.run(100)
    expect(one.run(2000).gain).toBeGreaterThan(0.98)
  })
})
