import { describe, expect, it } from 'vitest'
import { optimize } from '#kvasir/graph/passes/index.js'
import { recordGpt2, recordLlama } from '../families.js'
import { count } from '../small-graphs.js'

describe('optimize', () => {
  it('fuses a LLaMA to its least', () => {
    const graph = optimize(recordLlama({ numLayers: 3 }))
    expect(count(graph)).toEqual({
      embedding: 1,
      'rope-table': 1,
      linear: 3 * 4 + 1, // q|k|v, o + residual, gate|up, down + residual; head
      slice: 3 * 3,
      'kv-append': 3,
      attention: 3,
      'rms-norm': 3 * 2 + 1,
      'gather-rows': 1,
    })
    const linears = graph.nodes.filter((node) => node.op === 'linear')
    expect(linears.filter((node) => node.inputs.residual !== undefined)).toHaveLength(6)
    expect(linears.filter((node) => node.attributes.gated)).toHaveLength(3)
    expect(graph.nodes.filter((node) => node.inputs.table !== undefined)).toHaveLength(3)
  })

  it('fuses a GPT-2 to its least', () => {
    const graph = optimize(recordGpt2({ numLayers: 3 }))
    expect(count(graph)).toEqual({
      embedding: 2,
      linear: 3 * 4 + 1, // c_attn, c_proj + residual, c_fc + activation, c_proj + residual; head
      slice: 3 * 3,
      'kv-append': 3,
      attention: 3,
      'layer-norm': 3 * 2 + 1, // the first adds tokens and positions
      'gather-rows': 1,
    })
    expect(graph.nodes.filter((node) => node.outputs.sum !== undefined).map((node) => node.name)).toEqual([
      'h.0.ln_1',
    ])
    expect(graph.nodes.filter((node) => node.attributes.activation === 'gelu-tanh')).toHaveLength(3)
  })

  it('handles a hundred layers in a moment, and leaves its argument alone', () => {
    const recorded = recordLlama({ numLayers: 100 })
    const before = structuredClone(recorded)
    expect(optimize(recorded).nodes).toHaveLength(100 * 11 + 5)
    expect(recorded).toEqual(before)
  })
})
