import { describe, expect, it } from 'vitest'
import type { Graph } from '#kvasir/graph/graph.js'
import { Interpreter } from '#kvasir/graph/interpreter.js'
import {
  optimize,
  withControlledSampling,
  withProbabilities,
  withSampling,
} from '#kvasir/graph/passes/index.js'
import { recordGpt2 } from '../families.js'
import { GraphBuilder, randomWeights } from '../graph-builder.js'
import { C, only, start } from '../small-graphs.js'
import { Sequences } from '../steps.js'

describe('tail passes', () => {
  const steps = new Sequences(1, 50)
  const step = steps.step([4, 3])
  const graph = recordGpt2({ numLayers: 1 })
  const weights = randomWeights(graph, 1)
  const run = (form: Graph) => new Interpreter(form, { weights }).run(step)

  it('withProbabilities gives the softmax of the logits', () => {
    const form = withProbabilities(graph)
    expect(form.nodes.at(-1)!.op).toBe('softmax')
    const { probabilities, ...others } = run(form)
    expect(others).toEqual({})
    const { logits } = run(graph)
    const row = logits.slice(0, 50).map(Math.exp)
    const total = row.reduce((sum, number) => sum + number, 0)
    row.forEach((number, id) => {
      expect(probabilities[id]).toBeCloseTo(number / total, 14)
    })
  })

  it('withSampling takes the sampling tables and gives ids and log probabilities', () => {
    const form = optimize(withSampling(graph))
    expect(Object.keys(form.outputs)).toEqual(['ids', 'logprobs'])
    const inputs = form.values.filter((value) => value.kind === 'input').map((value) => value.name)
    expect(inputs).toEqual(expect.arrayContaining(['temperature', 'topK', 'topP', 'minP', 'seed', 'counter']))
    const { ids, logprobs } = run(form)
    const { logits } = run(graph)
    expect(ids).toHaveLength(7)
    ids.forEach((id, r) => {
      const row = logits.slice(r * 50, (r + 1) * 50)
      const total = row.reduce((sum, number) => sum + Math.exp(number), 0)
      expect(logprobs[r]).toBeCloseTo(row[id] - Math.log(total), 12)
      if (step.temperature[r] === 0) expect(row[id]).toBe(Math.max(...row))
    })
  })

  it('withControlledSampling gives what withSampling does where nothing is controlled, and lists', () => {
    const form = optimize(withControlledSampling(graph, { most: 3 }))
    expect(Object.keys(form.outputs)).toEqual(['ids', 'logprobs', 'topIds', 'topLogprobs'])
    const R = 7
    const none = {
      typicalP: new Float32Array(R).fill(1),
      forced: new Int32Array(R).fill(-1),
      editStarts: new Int32Array(R + 1),
      editIds: new Int32Array(0),
      editFactors: new Float32Array(0),
      editOffsets: new Float32Array(0),
      maskRows: new Int32Array(R).fill(-1),
      masks: new Int32Array(0),
      topCounts: new Int32Array(R).fill(2),
    }
    const found = new Interpreter(form, { weights }).run({ ...step, ...none })
    const plain = run(optimize(withSampling(graph)))
    expect([found.ids, found.logprobs]).toEqual([plain.ids, plain.logprobs])
    expect(Array.from(found.topIds.subarray(0, 3), (id) => id >= 0)).toEqual([true, true, false])
    expect(found.topLogprobs[0]).toBeGreaterThanOrEqual(found.topLogprobs[1])
    // All but the ids and their lists is f32, whatever is between layers.
    const narrow = optimize(withControlledSampling(graph, { most: 3 }), { activations: 'bf16' })
    const { logits, adjusted } = only(narrow, 'sample').inputs
    const outputs = Object.values(narrow.outputs)
    const dtypes = [logits, adjusted, ...outputs].map((id) => narrow.values[id].dtype)
    expect(dtypes).toEqual(['f32', 'f32', 'i32', 'f32', 'i32', 'f32'])
  })

  it('keeps other outputs, and inputs that are there already', () => {
    const b = new GraphBuilder()
    const temperature = b.input('temperature')
    const x = b.embedding('wte', b.input('tokens'), b.weight('wte.weight', [5, C]))
    const form = withSampling(b.finish({ logits: b.gatherRows('', x), x, temperature }))
    expect(Object.keys(form.outputs)).toEqual(['x', 'temperature', 'ids', 'logprobs'])
    expect(form.values.filter((value) => value.name === 'temperature')).toHaveLength(1)
    expect(only(form, 'sample').inputs.temperature).toBe(form.outputs.temperature)
  })

  it('wants logits (R, V)', () => {
    const { b, x } = start()
    const wrong = b.finish({ logits: x })
    expect(() => withSampling(wrong)).toThrow('graph: logits must be (R, V), got (N, 8)')
    const none = { ...wrong, outputs: { hidden: x } }
    expect(() => withProbabilities(none)).toThrow(
      'graph: outputs must be named logits among others, got "hidden"',
    )
  })
})
