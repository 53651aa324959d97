import { describe, expect, it } from 'vitest'
import { formatBytes, graphTotals } from '#kvasir/graph/listing/sizes.js'
import { listGraph } from '#kvasir/graph/listing.js'
import { optimize, withSampling } from '#kvasir/graph/passes/index.js'
import { recordGpt2, recordLlama } from './families.js'
import { GraphBuilder } from './graph-builder.js'

/** A listing's lines, with single spaces. */
const lines = (text: string) => text.split('\n').map((line) => line.trim().replace(/ +/g, ' '))

const recordedLlama = `inputs   tokens (N), positions (N), queryStarts (S+1), contextLengths (S), blockTables (S, W), outputRows (R)

embed_tokens                 embedding (50 -> 32)                                (N) -> (N, 32)                        f32  6.3 KiB
rotary                       rope-table, 4 frequencies                           (N) -> (N, 8)
layers.0 ... layers.2  x 3
  .input_layernorm           rms-norm                                            (N, 32) -> (N, 32)                    f32  128 B
  .self_attn.q_proj          linear (32 -> 32)                                   (N, 32) -> (N, 32)                    f32  4.0 KiB
  .self_attn.k_proj          linear (32 -> 16)                                   (N, 32) -> (N, 16)                    f32  2.0 KiB
  .self_attn.v_proj          linear (32 -> 16)                                   (N, 32) -> (N, 16)                    f32  2.0 KiB
  .self_attn                 rope, 4 heads of 8                                  (N, 32), (N, 8) -> (N, 32)
  .self_attn                 rope, 2 heads of 8                                  (N, 16), (N, 8) -> (N, 16)
  .self_attn                 attention layer 0, 4 heads of 8, 2 key/value heads  (N, 32), (N, 16), (N, 16) -> (N, 32)
  .self_attn.o_proj          linear (32 -> 32)                                   (N, 32) -> (N, 32)                    f32  4.0 KiB
  .                          add                                                 (N, 32), (N, 32) -> (N, 32)
  .post_attention_layernorm  rms-norm                                            (N, 32) -> (N, 32)                    f32  128 B
  .mlp.gate_proj             linear (32 -> 88)                                   (N, 32) -> (N, 88)                    f32  11.0 KiB
  .mlp.up_proj               linear (32 -> 88)                                   (N, 32) -> (N, 88)                    f32  11.0 KiB
  .mlp                       silu(x) * up                                        (N, 88), (N, 88) -> (N, 88)
  .mlp.down_proj             linear (88 -> 32)                                   (N, 88) -> (N, 32)                    f32  11.0 KiB
  .                          add                                                 (N, 32), (N, 32) -> (N, 32)
                             gather-rows                                         (N, 32) -> (R, 32)
norm                         rms-norm                                            (R, 32) -> (R, 32)                    f32  128 B
lm_head                      linear (32 -> 50)                                   (R, 32) -> (R, 50)                    f32  6.3 KiB

outputs  logits (R, 50)
totals   37,984 parameters, 148.4 KiB, 50 nodes`

describe('listGraph', () => {
  it('lists a recorded LLaMA', () => {
    expect(listGraph(recordLlama())).toBe(recordedLlama)
  })

  it('says fusions in words', () => {
    const listed = lines(listGraph(optimize(withSampling(recordLlama()), { dtype: 'bf16' })))
    expect(listed).toEqual(
      expect.arrayContaining([
        'layers.0 ... layers.2 x 3',
        '.self_attn.q_proj|k_proj|v_proj linear q|k|v (32 -> 64) (N, 32) -> (N, 64) bf16 4.0 KiB',
        '.self_attn.k_proj slice 32 to 47 (N, 64) -> (N, 16)',
        '.self_attn rope q, k + kv-append layer 0 (N, 16), (N, 16), (N, 8), (N, 32) -> (N, 32)',
        '.self_attn.o_proj linear (32 -> 32), + residual (N, 32), (N, 32) -> (N, 32) bf16 2.0 KiB',
        '.mlp.gate_proj|up_proj linear gate|up (32 -> 2 x 88), silu(gate) * up (N, 32) -> (N, 88) bf16 11.0 KiB',
        'lm_head sample (R, 50) -> (R), (R)',
        'outputs ids (R), logprobs (R)',
        'totals 37,984 parameters, 74.6 KiB, 39 nodes',
      ]),
    )
  })

  it('counts a tied weight once', () => {
    const graph = optimize(recordGpt2())
    const listed = lines(listGraph(graph))
    expect(listed).toContain('lm_head linear (32 -> 50) (R, 32) -> (R, 50) f32 shared, wte.weight')
    expect(listed).toContain(
      '.ln_1 residual + layer-norm, sum kept (N, 32), (N, 32) -> (N, 32), (N, 32) f32 256 B',
    )
    expect(listed).toContain('.mlp.c_fc linear (32 -> 128) bias, gelu-tanh (N, 32) -> (N, 128) f32 16.5 KiB')
    expect(listed).toContain('.attn kv-append layer 0 (N, 32), (N, 32) -> cache')
    const layer = 4 * 32 + 96 * 33 + 32 * 33 + 128 * 33 + 32 * 129
    const parameters = 50 * 32 + 64 * 32 + 3 * layer + 2 * 32
    expect(graphTotals(graph)).toEqual({ parameters, weightBytes: 4 * parameters, nodes: graph.nodes.length })
  })

  it('folds layers that alternate, and lists all where it is asked to', () => {
    const graph = recordGpt2({ numLayers: 6, alternatingWindow: 16 })
    const headings = (text: string) => lines(text).filter((line) => /^h\.\d/.test(line))
    expect(headings(listGraph(graph))).toEqual(['h.0, h.2 ... h.4 x 3', 'h.1, h.3 ... h.5 x 3'])
    expect(headings(listGraph(graph, { all: true }))).toEqual(['h.0', 'h.1', 'h.2', 'h.3', 'h.4', 'h.5'])
    expect(headings(listGraph(optimize(graph)))).toEqual(['h.0', 'h.1, h.3 x 2', 'h.2, h.4 x 2', 'h.5'])
    expect(headings(listGraph(recordGpt2({ numLayers: 2 })))).toEqual(['h.0, h.1 x 2'])
    expect(headings(listGraph(recordGpt2({ numLayers: 1 })))).toEqual(['h.0'])
  })

  it('describes every choice of the ops', () => {
    const b = new GraphBuilder()
    const x = b.embedding('wte', b.input('tokens'), b.weight('wte.weight', [9, 8]))
    const table = b.ropeTable('rotary', [1], 1.5)
    const rotated = b.rope('rope', x, table, 2, true)
    const options = {
      heads: 2,
      kvHeads: 2,
      headSize: 4,
      scale: 1,
      softcap: 30,
      window: 64,
      slopes: [0.5, 0.25],
    }
    const y = b.attention('attn', rotated, x, x, options)
    const normed = b.node('layer-norm', 'norm', { x: y }, ['N', 8], { epsilon: 1e-5 })
    const scaled = b.softmax('end', b.scale('scale', b.activation('act', normed, 'relu'), 0.5))
    const listed = lines(listGraph(b.finish({ scaled })))
    expect(listed).toEqual(
      expect.arrayContaining([
        'rotary rope-table, 1 frequency, magnitude 1.5 (N) -> (N, 2)',
        'rope rope, 2 heads of 4, interleaved (N, 8), (N, 2) -> (N, 8)',
        'attn attention layer 0, 2 heads of 4, scale 1, softcap 30, window 64, ALiBi (N, 8), (N, 8), (N, 8) -> (N, 8)',
        'norm layer-norm, no weight (N, 8) -> (N, 8)',
        'act relu (N, 8) -> (N, 8)',
        'scale scale by 0.5 (N, 8) -> (N, 8)',
        'end softmax (N, 8) -> (N, 8)',
      ]),
    )
  })

  it('writes bytes in their unit', () => {
    expect([0, 1023, 1024, 1536, 2 ** 20 - 1, 497_759_232, 3 * 2 ** 30, 2 ** 52].map(formatBytes)).toEqual([
      '0 B',
      '1023 B',
      '1.0 KiB',
      '1.5 KiB',
      '1024.0 KiB',
      '474.7 MiB',
      '3.0 GiB',
      '4096.0 TiB',
    ])
  })
})
