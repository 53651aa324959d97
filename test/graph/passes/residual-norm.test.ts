import { describe, expect, it } from 'vitest'
import { residualNorm } from '#kvasir/graph/passes/residual-norm.js'
import { only, ops, sourceOf, start } from '../small-graphs.js'

describe('residual-norm', () => {
  it.each(['layerNorm', 'rmsNorm'] as const)('%s adds, and keeps a sum that is read', (norm) => {
    const { b, x } = start()
    const sum = b.add('sum', x, b.scale('twice', x, 2))
    const between = b.scale('between', sum, 3)
    const y = b[norm]('norm', sum)
    const graph = residualNorm(b.finish({ between, y }))
    expect(ops(graph)).toEqual([
      'embedding',
      'scale',
      norm === 'rmsNorm' ? 'rms-norm' : 'layer-norm',
      'scale',
    ])
    const fused = graph.nodes[2]
    expect([sourceOf(graph, fused, 'x'), sourceOf(graph, fused, 'residual')]).toEqual(['wte', 'twice'])
    expect(graph.nodes[3].inputs.x).toBe(fused.outputs.sum)
    expect(Object.keys(fused.inputs).slice(0, 3)).toEqual(['x', 'residual', 'weight'])
  })

  it('gives no sum where nothing else reads it', () => {
    const { b, x } = start()
    const graph = residualNorm(b.finish({ y: b.layerNorm('norm', b.add('', x, x)) }))
    expect(only(graph, 'layer-norm').outputs.sum).toBeUndefined()
  })

  it('adds in the first of two norms, and keeps a sum that is an output', () => {
    const { b, x } = start()
    const sum = b.add('', x, b.scale('', x, 2))
    const graph = residualNorm(b.finish({ first: b.layerNorm('a', sum), second: b.rmsNorm('b', sum), sum }))
    expect(ops(graph)).toEqual(['embedding', 'scale', 'layer-norm', 'rms-norm'])
    expect(graph.outputs.sum).toBe(graph.nodes[2].outputs.sum)
    expect(graph.nodes[3].inputs).toMatchObject({ x: graph.outputs.sum })
    expect(residualNorm(graph)).toEqual(graph)
  })
})
