import { describe, expect, it } from 'vitest'
import type { DType } from '#kvasir/graph/graph.js'
import { optimize } from '#kvasir/graph/passes/index.js'
import { layout } from '#kvasir/graph/passes/layout.js'
import { recordLlama } from '../families.js'
import { C, start } from '../small-graphs.js'

describe('layout', () => {
  function weights(options: Parameters<typeof layout>[1]): Record<string, string> {
    const { b, x } = start()
    const positions = b.embedding('wpe', b.input('positions'), b.weight('wpe.weight', [9, C]))
    const y = b.linear('fc', b.layerNorm('ln', b.add('', x, positions)), C, { bias: true })
    const graph = layout(b.finish({ y, logits: b.linear('head', y, 5, { tiedTo: 'wte' }) }), options)
    const named = graph.values.filter((value) => value.kind === 'weight')
    return Object.fromEntries(named.map(({ name, layout, dtype }) => [name, `${dtype} ${layout}`]))
  }

  it('puts into panels what a linear reads, and gives matrices the dtype', () => {
    expect(weights({ dtype: 'f16' })).toEqual({
      'wte.weight': 'f16 panels',
      'wpe.weight': 'f16 rows',
      'ln.weight': 'f32 rows',
      'ln.bias': 'f32 rows',
      'fc.weight': 'f16 panels',
      'fc.bias': 'f32 rows',
    })
  })

  it('holds what the tokens choose from, and what makes the logits, in q8 where blocks are asked for', () => {
    for (const dtype of ['q8', 'q4'] as const) {
      expect(weights({ dtype })).toEqual({
        'wte.weight': 'q8 panels',
        'wpe.weight': 'f32 rows',
        'ln.weight': 'f32 rows',
        'ln.bias': 'f32 rows',
        'fc.weight': `${dtype} panels`,
        'fc.bias': 'f32 rows',
      })
    }
    const graph = optimize(recordLlama({ numLayers: 1 }), { dtype: 'q4' })
    const types = Object.fromEntries(
      graph.values.map(({ name, dtype, layout }) => [name, `${dtype} ${layout}`]),
    )
    expect(types).toMatchObject({
      'embed_tokens.weight': 'q8 rows',
      'lm_head.weight': 'q8 panels',
      'layers.0.mlp.gate_proj|up_proj.weight': 'q4 panels',
    })
  })

  it('keeps what the checkpoint holds', () => {
    const stored: Record<string, DType> = { 'wte.weight': 'bf16', 'fc.weight': 'f16', 'ln.weight': 'bf16' }
    expect(weights({ storedTypes: (parameter) => stored[parameter] ?? 'f32' })).toMatchObject({
      'wte.weight': 'bf16 panels',
      'wpe.weight': 'f32 rows',
      'ln.weight': 'f32 rows',
      'fc.weight': 'f16 panels',
    })
    expect(weights({})).toMatchObject({ 'wte.weight': 'f32 panels' })
  })

  it('takes q8 where some of the merged parts are, and the float type where one is in floats', () => {
    const merged = (up: DType) => {
      const storedTypes = (parameter: string): DType => (parameter.includes('gate') ? 'q4' : up)
      const graph = optimize(recordLlama({ numLayers: 1 }), { storedTypes })
      return graph.values.find(({ name }) => name === 'layers.0.mlp.gate_proj|up_proj.weight')!.dtype
    }
    expect([merged('q4'), merged('q8'), merged('bf16'), merged('f32')]).toEqual(['q4', 'q8', 'bf16', 'f32'])
  })

  it('takes f32 where merged parts are stored differently', () => {
    const storedTypes = (parameter: string): DType => (parameter.includes('gate') ? 'f16' : 'bf16')
    const graph = optimize(recordLlama({ numLayers: 1 }), { storedTypes })
    const dtypes = Object.fromEntries(graph.values.map(({ name, dtype }) => [name, dtype]))
    expect(dtypes['layers.0.mlp.gate_proj|up_proj.weight']).toBe('f32')
    expect(dtypes['layers.0.self_attn.q_proj|k_proj|v_proj.weight']).toBe('bf16')
  })
})
