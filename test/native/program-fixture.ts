import { expect } from 'vitest'
import { attentionLayers } from '#kvasir/engine/attention-layers.js'
import type { Graph } from '#kvasir/graph/graph.js'
import { optimize, withControlledSampling, withSampling } from '#kvasir/graph/passes/index.js'
import type { Backend, KvCache, Program, WeightStore } from '#kvasir/native/addon.js'
import { addon } from '#kvasir/native/addon.js'
import { recordGpt2, recordLlama } from '../graph/families.js'
import { GraphBuilder, randomWeights } from '../graph/graph-builder.js'
import { storeWeights, truth } from '../kernels/native-program.js'

export type Arrays = Record<string, Int32Array | Float32Array>

/** What no step may be larger than. */
export const limits = { maxTokens: 16, maxRows: 8, maxSequences: 4, maxBlocks: 3, maxEdits: 8, maxMasks: 2 }
export const numBlocks = 8
export const vocabSize = 50

/** Every op that the families do not use, or not by itself. */
function recordOtherOps(): Graph {
  const b = new GraphBuilder()
  const [C, heads, headSize] = [24, 3, 8]
  const wte = b.weight('wte.weight', [vocabSize, C])
  const x = b.add(
    'sum',
    b.embedding('wte', b.input('tokens'), wte),
    b.embedding('wte', b.input('positions'), wte),
  )
  const normed = b.layerNorm('norm', x)
  const whole = b.linear('qkv', normed, 3 * C, { bias: true })
  const [q, k, v] = [0, 1, 2].map((part) => b.slice('qkv', whole, part * C, C))
  const table = b.ropeTable('rotary', [1, 0.1, 0.01])
  // Keys alone, so that the rotation is a node of its own.
  const turned = b.rope('rope', b.scale('scale', k, 0.5), table, heads, true)
  const options = { heads, kvHeads: heads, headSize, slopes: [0.5, 0.25, 0.125], softcap: 9, window: 4 }
  const ownNorms = { epsilon: 1e-6, heads }
  const weight = b.weight('q_norm.weight', [headSize])
  const normedQ = b.node('rms-norm', 'q_norm', { x: q, weight }, b.shape(q), ownNorms)
  const y = b.attention('attention', normedQ, turned, v, options)
  const act = b.activation('act', b.add('residual', y, x), 'gelu', b.softmax('softmax', y))
  const mixed = b.experts('mixture', act, 5, 20)
  const logits = b.linear('head', b.gatherRows('', mixed), vocabSize, { tiedTo: 'wte' })
  return b.finish({ logits, probabilities: b.softmax('last', b.softcap('softcap', logits, 20)) })
}

/** Each as it is recorded, and as it samples. */
const recorded = {
  llama: () => both(recordLlama({ numLayers: 1 }), withSampling),
  gpt2: () => both(recordGpt2({ numLayers: 1 }), withSampling),
  others: () => both(recordOtherOps(), withSampling),
  controlled: () => both(recordGpt2({ numLayers: 1 }), (graph) => withControlledSampling(graph, { most: 4 })),
}
const both = (graph: Graph, sampling: (graph: Graph) => Graph) => ({ graph, samples: sampling(graph) })
export type FixtureName = keyof typeof recorded
export const fixtureNames = Object.keys(recorded) as FixtureName[]

/** A small model with its weights and its cache, of which programs are made. */
export class ProgramFixture {
  readonly graph: Graph
  readonly backend: Backend
  readonly store: WeightStore
  readonly cache: KvCache
  readonly #program: Program
  readonly #expected: Arrays

  constructor(name: FixtureName = 'llama') {
    const { graph, samples } = recorded[name]()
    const weights = randomWeights(graph, 1)
    this.graph = optimize(samples)
    this.backend = new (addon().Backend)({ threads: 2 })
    this.store = storeWeights(this.graph, weights)
    this.cache = new (addon().KvCache)(this.backend, {
      layers: attentionLayers(graph),
      numBlocks,
      dtype: 'f32',
    })
    this.#program = this.compile()
    this.#expected = this.run(this.#program)
    const { ids, logprobs } = truth(samples, weights).run(controlledInputs())
    expect(Array.from(this.#expected.ids)).toEqual(Array.from(ids))
    logprobs.forEach((logprob, r) => {
      expect(this.#expected.logprobs[r]).toBeCloseTo(logprob, 5)
    })
  }

  compile(graph: unknown = this.graph, checked = true): Program {
    return new (addon().Program)(this.backend, this.store, this.cache, graph as Graph, limits, checked)
  }

  /** Room for every output of a valid step. */
  outputs(): Arrays {
    const R = stepInputs().outputRows.length
    return Object.fromEntries(
      Object.entries(this.graph.outputs).map(([name, id]) => {
        const { dtype, shape } = this.graph.values[id]
        const count = R * ((shape[1] as number | undefined) ?? 1)
        return [name, dtype === 'i32' ? new Int32Array(count) : new Float32Array(count)]
      }),
    )
  }

  run(program: Program, inputs: Arrays = controlledInputs()): Arrays {
    const outputs = this.outputs()
    expect(program.run(inputs, outputs, null)).toBe(true)
    return outputs
  }

  /** Expects that all still works as it did. */
  expectIntact(): void {
    expect(this.run(this.#program)).toEqual(this.#expected)
  }

  /** Expects that `act` throws an error with a code, and does no harm. */
  expectRefused(act: () => unknown, code: string | RegExp, message: RegExp = /./): void {
    const error = errorOf(act)
    expect(error?.code, `${error}`).toMatch(code)
    expect(error?.message).toMatch(message)
    this.expectIntact()
  }
}

/** The tables of a valid step: the first five and two tokens of two sequences. */
export function stepInputs(): Arrays {
  return {
    tokens: Int32Array.of(1, 2, 3, 49, 0, 7, 8),
    positions: Int32Array.of(0, 1, 2, 3, 4, 0, 1),
    queryStarts: Int32Array.of(0, 5, 7),
    contextLengths: Int32Array.of(5, 2),
    blockTables: Int32Array.of(6, -1, 2, -1),
    outputRows: Int32Array.of(6, 4, 0),
    temperature: Float32Array.of(0, 1, 0.5),
    topK: Int32Array.of(0, 5, 0),
    topP: Float32Array.of(1, 0.9, 1),
    minP: Float32Array.of(0, 0, 0.1),
    seed: Int32Array.of(1, 2, -3, 4, 5, 6),
    counter: Int32Array.of(2, 5, 1),
  }
}

/** And what the program with all controls takes more. */
export function controlledInputs(): Arrays {
  return {
    ...stepInputs(),
    typicalP: Float32Array.of(1, 0.9, 1),
    forced: Int32Array.of(-1, -1, 7),
    editStarts: Int32Array.of(0, 2, 3, 3),
    editIds: Int32Array.of(4, 49, 4),
    editFactors: Float32Array.of(1.2, 1, 0.9),
    editOffsets: Float32Array.of(0, -Infinity, 2),
    maskRows: Int32Array.of(0, -1, -1),
    masks: Int32Array.of(-2, 0x1ffff),
    topCounts: Int32Array.of(0, 4, 2),
  }
}

export interface CodedError extends Error {
  code?: string
}

/** What `act` throws, or undefined. */
export function errorOf(act: () => unknown): CodedError | undefined {
  try {
    act()
  } catch (error) {
    return error as CodedError
  }
  return undefined
}
