import { describe, expect, it } from 'vitest'
import type { Graph } from '#kvasir/graph/graph.js'
import { Interpreter } from '#kvasir/graph/interpreter.js'
import { toNativeProgram } from '#kvasir/graph/native-program.js'
import type { Pass } from '#kvasir/graph/passes/index.js'
import { optimize, passes } from '#kvasir/graph/passes/index.js'
import { validateGraph } from '#kvasir/graph/validate.js'
import { randomWeights } from '../graph-builder.js'
import { randomGraph } from '../random-graph.js'
import { randomModel, vocabSize } from '../random-model.js'
import type { StepInputs } from '../steps.js'
import { Sequences } from '../steps.js'

/** Prompts of three sequences in chunks, across a block's edge, then single tokens. */
function someSteps(seed: number): StepInputs[] {
  const sequences = new Sequences(seed, vocabSize)
  return [[5], [30, 3], [1, 0, 4], [1, 2, 1]].map((counts) => sequences.step(counts))
}

function runAll(graph: Graph, weights: (parameter: string) => Float64Array, steps: readonly StepInputs[]) {
  const interpreter = new Interpreter(graph, { weights })
  return steps.map((step) => interpreter.run(step))
}

/** The largest difference of any output of any step, relative to the largest number of that output. */
function difference(truth: Record<string, Float64Array>[], found: Record<string, Float64Array>[]): number {
  const differences = truth.flatMap((step, i) => {
    expect(Object.keys(found[i]).sort()).toEqual(Object.keys(step).sort())
    return Object.keys(step).map((name) => relativeDifference(step[name], found[i][name]))
  })
  return Math.max(...differences)
}

/** NaN where one of the numbers is. */
function relativeDifference(truth: Float64Array, found: Float64Array): number {
  expect(found).toHaveLength(truth.length)
  const scale = truth.reduce((max, number) => Math.max(max, Math.abs(number)), 1e-300)
  return truth.reduce((max, number, i) => Math.max(max, Math.abs(number - found[i]) / scale), 0)
}

/**
 * Fails where a kv-append would overwrite, as it rotates queries in place, columns that anything else reads. Written
 * without the passes' own analysis: every column of every value is followed back to the result that owns it.
 */
function expectNothingOverwritten(graph: Graph, name: string): void {
  const cells: string[][] = graph.values.map(({ id, shape }) =>
    Array.from({ length: Number(shape[1]) || 0 }, (_, column) => `${id}:${column}`),
  )
  for (const { op, inputs, outputs, attributes } of graph.nodes) {
    const start = Number(attributes.start)
    if (op === 'slice') cells[outputs.y] = cells[inputs.x].slice(start, start + Number(attributes.size))
  }
  for (const append of graph.nodes.filter(
    ({ inputs }) => inputs.table !== undefined && inputs.q !== undefined,
  )) {
    const overwritten = new Set(cells[append.inputs.q])
    const read = graph.nodes.flatMap((node) =>
      Object.entries(node.inputs)
        .filter(([input]) => node.op !== 'slice' && !(node === append && input === 'q'))
        .flatMap(([, id]) => cells[id]),
    )
    const given = Object.values(graph.outputs).flatMap((id) => cells[id])
    expect(
      [...read, ...given].filter((cell) => overwritten.has(cell)),
      name,
    ).toEqual([])
    expect(graph.values[Number([...overwritten][0].split(':')[0])].kind, name).toBe('result')
  }
}

function expectSame(graph: Graph, seed: number, name: string): void {
  const weights = randomWeights(graph, seed)
  const steps = someSteps(seed)
  const truth = runAll(graph, weights, steps)
  expect(truth.every((step) => Object.values(step).every((numbers) => numbers.every(Number.isFinite)))).toBe(
    true,
  )
  const before = JSON.stringify(graph)
  let current = graph
  for (const [passName, pass] of passes) {
    current = (pass as Pass)(current, { dtype: 'bf16' })
    validateGraph(current)
    expect(difference(truth, runAll(current, weights, steps)), `${name}, after ${passName}`).toBeLessThan(
      1e-12,
    )
  }
  toNativeProgram(current)
  expectNothingOverwritten(current, name)
  expect(JSON.stringify(graph), `${name}: the argument was changed`).toBe(before)
  expect(optimize(graph, { dtype: 'bf16' })).toEqual(current)
  expect(optimize(current, { dtype: 'bf16' }), `${name}: nothing is left to fuse`).toEqual(current)
}

describe('passes leave what a graph computes as it is', () => {
  it('of random transformers', () => {
    for (let seed = 0; seed < 150; seed++) {
      const { graph, choices } = randomModel(seed)
      expectSame(graph, seed, `model ${seed} ${JSON.stringify(choices)}`)
    }
  })

  it('of random graphs', () => {
    for (let seed = 0; seed < 300; seed++) expectSame(randomGraph(seed), seed, `graph ${seed}`)
  })
})
