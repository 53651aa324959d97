import type { ValueId } from '#kvasir/graph/graph.js'
import { withControlledSampling } from '#kvasir/graph/passes/index.js'
import { Random } from '../../graph/random.js'
import { KernelGraph, rowStep } from '../../kernels/kernel-graph.js'
import type { WeightType } from '../../kernels/numbers.js'
import { extremes, randomNumbers, roundTo } from '../../kernels/numbers.js'
import {
  randomControls,
  randomEdits,
  randomLogits,
  randomSettings,
  sampleStep,
} from '../../kernels/sampling-steps.js'
import { CaseBuilder } from './case-builder.js'
import type { VectorCase } from './vector-file.js'

/** Ops that work on rows alone: norms, elementwise, softmax, embeddings, rotations. */
export function rowCases(): VectorCase[] {
  const types: WeightType[] = ['bf16', 'f16', 'f32']
  return types.flatMap((type) => [
    elementwise(type),
    atExtremes(type),
    normsAlone(type),
    normsOfHeads(type),
    mixtures(type),
    rotations(type),
    gathered(type),
    ...samples(type),
    ...controlled(type),
  ])
}

class RowGraph extends KernelGraph {
  readonly type: WeightType

  constructor(type: WeightType) {
    super()
    this.type = type
  }

  rows(name: string, count: number, cols: number, seed: number, scale = 2): ValueId {
    return this.activations(name, cols, roundTo(this.type, randomNumbers(seed, count * cols, scale)))
  }

  /** Fewer rows than the first step has, with the same bits. */
  steps(name: string, counts: readonly number[]): VectorCase {
    const builder = new CaseBuilder(name, this.graph, this.weights, { type: this.type })
    const total = Math.max(...counts)
    builder.session({ maxTokens: total })
    const inputs = (count: number, first: number) => ({
      ...rowStep(count, first),
      positions: Int32Array.from({ length: count }, (_, n) => positionOf(first + n)),
    })
    const whole = builder.truth(inputs(total, 0))
    for (const count of counts.filter((count) => count < total)) {
      const first = (count * 7) % (total - count + 1)
      builder.run(inputs(count, first))
      builder.equal(0, count, whole, first)
    }
    return builder.vectorCase
  }
}

/** Positions of all sizes. */
const positionOf = (row: number) => [row, 1000 + row, 131_071, 8191 * row][row % 4]!

function elementwise(type: WeightType): VectorCase {
  const graph = new RowGraph(type)
  const outputs: Record<string, ValueId> = {}
  for (const C of [1, 8, 83, 260]) {
    const x = graph.rows(`x${C}`, 17, C, C)
    const other = graph.slice(`o${C}`, graph.rows(`wide${C}`, 17, C + 20, C + 1), 13, C)
    outputs[`${C} add`] = graph.add(`add${C}`, x, other)
    outputs[`${C} scale`] = graph.scale(`scale${C}`, x, 0.37)
    outputs[`${C} softcap`] = graph.softcap(`softcap${C}`, x, 1.5)
    outputs[`${C} softmax`] = graph.softmax(`softmax${C}`, x)
    for (const kind of ['relu', 'gelu', 'gelu-tanh', 'silu']) {
      outputs[`${C} ${kind}`] = graph.activation(`${kind}${C}`, x, kind)
      outputs[`${C} ${kind} gated`] = graph.activation(`${kind} gated${C}`, x, kind, other)
    }
  }
  graph.finish(outputs)
  return graph.steps(`elementwise, ${type}`, [1, 3, 17])
}

function atExtremes(type: WeightType): VectorCase {
  const graph = new RowGraph(type)
  const most = type === 'f16' ? 65504 : 3.38e38
  const numbers = roundTo(
    type,
    Array.from(extremes).filter((x) => !Number.isFinite(x) || Math.abs(x) <= most),
  )
  // Softmax and norms mix a row's numbers: every row here is a single one of them.
  const x = graph.activations('x', 1, numbers)
  const outputs: Record<string, ValueId> = {
    doubled: graph.scale('scale', x, 2),
    sum: graph.add('add', x, x),
  }
  for (const kind of ['relu', 'gelu', 'gelu-tanh', 'silu']) outputs[kind] = graph.activation(kind, x, kind)
  graph.finish(outputs)
  return graph.steps(`elementwise, ${type}, extremes`, [1, numbers.length])
}

function normsAlone(type: WeightType): VectorCase {
  const graph = new RowGraph(type)
  const outputs: Record<string, ValueId> = {}
  for (const C of [1, 7, 64, 100, 1030]) {
    const x = graph.rows(`x${C}`, 9, C, C)
    const residual = graph.slice(`r${C}`, graph.rows(`wide${C}`, 9, C + 9, C + 1), 3, C)
    const weight = graph.parameter(`weight${C}`, [C], randomNumbers(C + 2, C, 2))
    const bias = graph.parameter(`bias${C}`, [C], randomNumbers(C + 3, C, 2))
    const shape = graph.shape(x)
    for (const op of ['layer-norm', 'rms-norm']) {
      const inputs = op === 'layer-norm' ? { x, weight, bias } : { x, weight }
      // Its reader is no linear layer, so the norm is a kernel of its own.
      outputs[`${op} ${C}`] = graph.node(op, `${op}${C}`, inputs, shape, { epsilon: 1e-5 })
      const both = { y: 'f32', sum: 'f32' } as const
      const summed = graph.nodeWith(op, { ...inputs, residual }, shape, both, { epsilon: 1e-6 })
      outputs[`${op} ${C} of a sum`] = summed.y!
      outputs[`${op} ${C} sum`] = summed.sum!
    }
  }
  graph.finish(outputs)
  return graph.steps(`norms, ${type}`, [1, 5, 9])
}

function normsOfHeads(type: WeightType): VectorCase {
  const graph = new RowGraph(type)
  const outputs: Record<string, ValueId> = {}
  for (const [heads, D] of [
    [3, 1],
    [5, 7],
    [4, 40],
    [2, 128],
  ] as const) {
    const C = heads * D
    const x = graph.slice(`x${D}`, graph.rows(`wide${D}`, 9, C + 9, D), 3, C)
    const residual = graph.rows(`r${D}`, 9, C, D + 1)
    const weight = graph.parameter(`weight${D}`, [D], randomNumbers(D + 2, D, 2))
    const attributes = { epsilon: 1e-6, heads }
    outputs[`${heads} of ${D}`] = graph.node('rms-norm', `n${D}`, { x, weight }, graph.shape(x), attributes)
    const both = { y: 'f32', sum: 'f32' } as const
    const summed = graph.nodeWith('rms-norm', { x, residual, weight }, graph.shape(x), both, attributes)
    outputs[`${heads} of ${D}, of a sum`] = summed.y!
    outputs[`${heads} of ${D}, sum`] = summed.sum!
  }
  graph.finish(outputs)
  return graph.steps(`norms of heads, ${type}`, [1, 5, 9])
}

function mixtures(type: WeightType): VectorCase {
  const graph = new RowGraph(type)
  const outputs: Record<string, ValueId> = {}
  for (const [C, F, E, chosen] of [
    [8, 5, 3, 2],
    [40, 70, 6, 3],
    [130, 33, 33, 4],
  ] as const) {
    const stack = (name: string, rows: number, cols: number) => {
      const matrices = Array.from({ length: E }, (_, e) =>
        randomNumbers(C + F + e, rows * cols, Math.sqrt(3 / cols)),
      )
      return graph.stack(`${name}${C}`, matrices, cols)
    }
    // Far apart, so that no rounding chooses others.
    const logits = Float32Array.from(
      { length: 9 * E },
      (_, i) => (((i % E) * 7 + Math.floor(i / E) * 3) % E) / 8,
    )
    const inputs = {
      x: graph.rows(`x${C}`, 9, C, C),
      logits: graph.activations(`logits${C}`, E, roundTo('bf16', logits)),
      gate: stack('gate', F, C),
      up: stack('up', F, C),
      down: stack('down', C, F),
    }
    const attributes = { chosen, normalised: C > 8, activation: 'silu' }
    outputs[`${chosen} of ${E}`] = graph.node('experts', `experts${C}`, inputs, ['N', C], attributes)
  }
  graph.finish(outputs)
  return graph.steps(`experts, ${type}`, [1, 5, 9])
}

function rotations(type: WeightType): VectorCase {
  const graph = new RowGraph(type)
  const outputs: Record<string, ValueId> = {}
  for (const [heads, headSize, pairs] of [
    [3, 8, 4],
    [2, 20, 7],
    [4, 64, 32],
    [1, 128, 64],
  ] as const) {
    const x = graph.rows(`x${headSize}`, 33, heads * headSize, headSize)
    const frequencies = Array.from({ length: pairs }, (_, p) => 10_000 ** (-p / pairs))
    const table = graph.ropeTable(`table${headSize}`, frequencies, 1.1)
    for (const interleaved of [false, true]) {
      const name = `${headSize} ${interleaved ? 'interleaved' : 'halves'}`
      outputs[name] = graph.rope(name, x, table, heads, interleaved)
    }
    if (pairs < 10) outputs[`${headSize} table`] = table
  }
  graph.finish(outputs)
  return graph.steps(`rotations, ${type}`, [1, 16, 33])
}

/** Rows in any order, some more than once; an embedding whose matrix is a linear layer's too. */
function gathered(type: WeightType): VectorCase {
  const graph = new RowGraph(type)
  const shared = graph.parameter('shared', [70, 83], roundTo(type, randomNumbers(5, 70 * 83, 0.3)))
  const x = graph.embedding('embedding', graph.input('tokens'), shared)
  const chosen = graph.gatherRows('gather', x)
  const inputs = { x: chosen, weight: shared }
  const y = graph.node('linear', 'head', inputs, ['R', 70], { activation: 'none', gated: false })
  graph.finish({ x, chosen, y })
  const builder = new CaseBuilder(`gathered rows, ${type}`, graph.graph, graph.weights, { type })
  builder.session({ maxTokens: 40 })
  const random = new Random(3)
  for (const [N, R] of [
    [1, 1],
    [40, 1],
    [40, 13],
    [17, 17],
    [40, 40],
  ] as const) {
    builder.truth({
      tokens: Int32Array.from({ length: N }, () => random.integer(0, 69)),
      outputRows: Int32Array.from({ length: R }, () => random.integer(0, N - 1)),
    })
  }
  return builder.vectorCase
}

// A logarithm of an f32 sum's size, and one rounding of the result.
const logprobBounds = { logprobs: { nmse: Infinity, worst: 2e-5 } }

function samples(type: WeightType): VectorCase[] {
  return (type === 'f16' ? [3, 257] : [1, 3, 65, 257, 4097]).map((V) => {
    const random = new Random(V)
    const count = V < 1000 ? 24 : 9
    const rows = Array.from({ length: count }, (_, row) => row)
    const graph = new RowGraph(type)
    const table = roundTo(
      type,
      rows.flatMap(() => randomLogits(random, V)),
    )
    const logits = graph.gatherRows('gather', graph.activations('logits', V, table))
    const names = ['temperature', 'topK', 'topP', 'minP', 'seed', 'counter'] as const
    const inputs = Object.fromEntries(names.map((name) => [name, graph.input(name)]))
    graph.finish(graph.nodeWith('sample', { logits, ...inputs }, ['R'], { ids: 'i32', logprobs: 'f32' }))
    const builder = new CaseBuilder(`sample, ${type}, of ${V}`, graph.graph, graph.weights, { type })
    for (const checked of [true, false]) {
      builder.session({ maxTokens: count, checked })
      builder.truth(
        sampleStep(rows, () => ({ temperature: 0 })),
        logprobBounds,
      )
      for (let i = 0; i < 4; i++) {
        const shuffled = random.shuffle(rows).slice(0, random.integer(1, count))
        builder.truth(
          sampleStep(shuffled, () => randomSettings(random, V)),
          logprobBounds,
        )
      }
    }
    return builder.vectorCase
  })
}

/** Edits, masks, typical and forced tokens, and lists of the likeliest. */
function controlled(type: WeightType): VectorCase[] {
  const most = 20
  return (type === 'f16' ? [33] : [1, 65, 257, 4097]).map((V) => {
    const random = new Random(V)
    const count = V < 1000 ? 20 : 6
    const rows = Array.from({ length: count }, (_, row) => row)
    const table = roundTo(
      type,
      rows.flatMap(() => randomLogits(random, V)),
    )
    const graph = new RowGraph(type)
    graph.finish({ logits: graph.gatherRows('gather', graph.activations('logits', V, table)) })
    const sampling = withControlledSampling(graph.graph, { most })
    const builder = new CaseBuilder(`controls, ${type}, of ${V}`, sampling, graph.weights, { type })
    const bounds = { ...logprobBounds, topLogprobs: logprobBounds.logprobs }
    for (const checked of [true, false]) {
      builder.session({ maxTokens: count, maxEdits: 40 * count, maxMasks: 3, checked })
      for (const R of [1, 2, 3, count]) {
        const step = {
          ...sampleStep(random.shuffle(rows).slice(0, R), () => randomControls(random, V)),
          ...randomEdits(random, V, R),
          topCounts: Int32Array.from({ length: R }, () => random.pick([0, 1, 5, most])),
        }
        builder.truth(step, bounds)
      }
    }
    return builder.vectorCase
  })
}
