import { openSync, readFileSync, readSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Graph } from '#kvasir/graph/graph.js'
import { formatShape } from '#kvasir/graph/graph.js'
import { Decoder, type DecoderConfig } from '#kvasir/models/decoder.js'
import { modelFor } from '#kvasir/models/registry.js'
import {
  alibi,
  geglu,
  gelu,
  LayerNorm,
  learned,
  mlp,
  modelSpec,
  noPositions,
  parameters,
  postNorm,
  preNorm,
  RMSNorm,
  record,
  relu,
  rotary,
  sinusoidal,
  slidingWindow,
  swiglu,
  tiedHead,
  untiedHead,
} from '#kvasir/nn/index.js'
import { shared, sharedDir } from '../shared.js'

/** A line a node: its module, op, inputs by name, and the shape of its output. */
function listing({ nodes, values }: Graph): string[] {
  return nodes.map(({ name, op, inputs, outputs }) => {
    const read = Object.values(inputs).map((id) => values[id]!.name || 'model')
    return `${name || 'model'}: ${op}(${read.join(', ')}) ${formatShape(values[Object.values(outputs)[0]!]!.shape)}`
  })
}

describe('GPT-2', () => {
  const config = { model_type: 'gpt2', n_embd: 64, n_head: 4, n_layer: 2, n_positions: 16, vocab_size: 9 }

  it('is recorded so', () => {
    expect(listing(record(modelFor({ ...config, n_layer: 1 })))).toEqual([
      'wte: embedding(tokens, wte.weight) (N, 64)',
      'wpe: embedding(positions, wpe.weight) (N, 64)',
      'model: add(wte, wpe) (N, 64)',
      'h.0.ln_1: layer-norm(model, h.0.ln_1.weight, h.0.ln_1.bias) (N, 64)',
      'h.0.attn.c_attn: linear(h.0.ln_1, h.0.attn.c_attn.weight, h.0.attn.c_attn.bias) (N, 192)',
      'h.0.attn: slice(h.0.attn.c_attn) (N, 64)',
      'h.0.attn: slice(h.0.attn.c_attn) (N, 64)',
      'h.0.attn: slice(h.0.attn.c_attn) (N, 64)',
      'h.0.attn: attention(h.0.attn, h.0.attn, h.0.attn, queryStarts, contextLengths, blockTables) (N, 64)',
      'h.0.attn.c_proj: linear(h.0.attn, h.0.attn.c_proj.weight, h.0.attn.c_proj.bias) (N, 64)',
      'h.0: add(model, h.0.attn.c_proj) (N, 64)',
      'h.0.ln_2: layer-norm(h.0, h.0.ln_2.weight, h.0.ln_2.bias) (N, 64)',
      'h.0.mlp.c_fc: linear(h.0.ln_2, h.0.mlp.c_fc.weight, h.0.mlp.c_fc.bias) (N, 256)',
      'h.0.mlp: activation(h.0.mlp.c_fc) (N, 256)',
      'h.0.mlp.c_proj: linear(h.0.mlp, h.0.mlp.c_proj.weight, h.0.mlp.c_proj.bias) (N, 64)',
      'h.0: add(h.0, h.0.mlp.c_proj) (N, 64)',
      'model: gather-rows(h.0, outputRows) (R, 64)',
      'ln_f: layer-norm(model, ln_f.weight, ln_f.bias) (R, 64)',
      'lm_head: linear(ln_f, wte.weight) (R, 9)',
    ])
  })

  it.each([
    [{}, [0.25, 0.25]],
    [{ scale_attn_weights: false }, [1, 1]],
    [{ scale_attn_by_inverse_layer_idx: true }, [0.25, 0.125]],
  ])('scales its scores: %o', (options, scales) => {
    const { nodes } = record(modelFor({ ...config, ...options }))
    const found = nodes.filter(({ op }) => op === 'attention').map(({ attributes }) => attributes.scale)
    expect(found).toEqual(scales)
  })

  it('has a head of its own where it is not tied', () => {
    const model = modelFor({ ...config, tie_word_embeddings: false, n_inner: 100 })
    expect(parameters(model)).toContainEqual({ path: 'lm_head.weight', shape: [9, 64] })
    expect(parameters(model)).toContainEqual({ path: 'h.1.mlp.c_fc.weight', shape: [100, 64] })
    expect(listing(record(model)).at(-1)).toBe('lm_head: linear(ln_f, lm_head.weight) (R, 9)')
  })
})

describe('GPT-Neo', () => {
  it('sees everything and a window in turn, and does not scale its scores', () => {
    const sizes = { hidden_size: 64, num_heads: 4, num_layers: 4, window_size: 8 }
    const model = modelFor({ model_type: 'gpt_neo', ...sizes, attention_types: [[['global', 'local'], 2]] })
    const attentions = record(model).nodes.filter(({ op }) => op === 'attention')
    expect(attentions.map(({ name }) => name)).toEqual([0, 1, 2, 3].map((i) => `h.${i}.attn.attention`))
    expect(attentions.map(({ attributes }) => attributes.window)).toEqual([0, 8, 0, 8])
    expect(attentions.map(({ attributes }) => attributes.scale)).toEqual([1, 1, 1, 1])
  })
})

describe('LLaMA', () => {
  const config = {
    model_type: 'llama',
    hidden_size: 64,
    intermediate_size: 160,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    num_hidden_layers: 1,
    vocab_size: 9,
  }

  it('is recorded so', () => {
    expect(listing(record(modelFor(config)))).toEqual([
      'embed_tokens: embedding(tokens, embed_tokens.weight) (N, 64)',
      'layers.0.input_layernorm: rms-norm(embed_tokens, layers.0.input_layernorm.weight) (N, 64)',
      'layers.0.self_attn.q_proj: linear(layers.0.input_layernorm, layers.0.self_attn.q_proj.weight) (N, 64)',
      'rope: rope-table(positions) (N, 16)',
      'layers.0.self_attn.rope: rope(layers.0.self_attn.q_proj, rope) (N, 64)',
      'layers.0.self_attn.k_proj: linear(layers.0.input_layernorm, layers.0.self_attn.k_proj.weight) (N, 32)',
      'layers.0.self_attn.rope: rope(layers.0.self_attn.k_proj, rope) (N, 32)',
      'layers.0.self_attn.v_proj: linear(layers.0.input_layernorm, layers.0.self_attn.v_proj.weight) (N, 32)',
      'layers.0.self_attn: attention(layers.0.self_attn.rope, layers.0.self_attn.rope, layers.0.self_attn.v_proj, ' +
        'queryStarts, contextLengths, blockTables) (N, 64)',
      'layers.0.self_attn.o_proj: linear(layers.0.self_attn, layers.0.self_attn.o_proj.weight) (N, 64)',
      'layers.0: add(embed_tokens, layers.0.self_attn.o_proj) (N, 64)',
      'layers.0.post_attention_layernorm: rms-norm(layers.0, layers.0.post_attention_layernorm.weight) (N, 64)',
      'layers.0.mlp.gate_proj: linear(layers.0.post_attention_layernorm, layers.0.mlp.gate_proj.weight) (N, 160)',
      'layers.0.mlp.up_proj: linear(layers.0.post_attention_layernorm, layers.0.mlp.up_proj.weight) (N, 160)',
      'layers.0.mlp: activation(layers.0.mlp.gate_proj, layers.0.mlp.up_proj) (N, 160)',
      'layers.0.mlp.down_proj: linear(layers.0.mlp, layers.0.mlp.down_proj.weight) (N, 64)',
      'layers.0: add(layers.0, layers.0.mlp.down_proj) (N, 64)',
      'model: gather-rows(layers.0, outputRows) (R, 64)',
      'norm: rms-norm(model, norm.weight) (R, 64)',
      'lm_head: linear(norm, lm_head.weight) (R, 9)',
    ])
  })

  it('has biases and a head size where its config says so', () => {
    const model = modelFor({ ...config, attention_bias: true, mlp_bias: true, head_dim: 32 })
    const found = Object.fromEntries(parameters(model).map(({ path, shape }) => [path, shape]))
    expect(found).toMatchObject({
      'layers.0.self_attn.q_proj.weight': [128, 64],
      'layers.0.self_attn.k_proj.bias': [64],
      'layers.0.self_attn.o_proj.weight': [64, 128],
      'layers.0.self_attn.o_proj.bias': [64],
      'layers.0.mlp.gate_proj.bias': [160],
      'layers.0.mlp.down_proj.bias': [64],
    })
    expect(modelSpec(model, record(model))).toEqual({
      vocabSize: 9,
      maxPositions: 2048,
      layers: [{ kvHeads: 2, headSize: 32 }],
    })
  })
})

describe('the decoder', () => {
  const sizes = { vocabSize: 9, maxPositions: 16, width: 8, layers: 1, heads: 4 }
  const modern: DecoderConfig = {
    ...sizes,
    bias: false,
    kvHeads: 2,
    hidden: 12,
    positions: rotary(),
    norm: RMSNorm,
    residual: preNorm,
    feedForward: swiglu,
    head: untiedHead,
  }
  const first: DecoderConfig = {
    ...sizes,
    positions: sinusoidal(16, 8),
    norm: LayerNorm,
    residual: postNorm,
    feedForward: mlp(relu),
    head: tiedHead,
    embeddingScale: Math.sqrt(8),
  }
  const ops = (config: DecoderConfig) => record(new Decoder(config)).nodes.map(({ op }) => op)
  const node = (config: DecoderConfig, op: string) =>
    record(new Decoder(config)).nodes.find((n) => n.op === op)!

  it('can be a modern one', () => {
    expect(ops(modern)).toEqual([
      'embedding',
      ...[
        'rms-norm',
        'linear',
        'rope-table',
        'rope',
        'linear',
        'rope',
        'linear',
        'attention',
        'linear',
        'add',
      ],
      ...['rms-norm', 'linear', 'linear', 'activation', 'linear', 'add'],
      ...['gather-rows', 'rms-norm', 'linear'],
    ])
    expect(parameters(new Decoder(modern))).toEqual([
      { path: 'embed.weight', shape: [9, 8] },
      { path: 'layers.0.attn_norm.weight', shape: [8] },
      { path: 'layers.0.attn.q_proj.weight', shape: [8, 8] },
      { path: 'layers.0.attn.k_proj.weight', shape: [4, 8] },
      { path: 'layers.0.attn.v_proj.weight', shape: [4, 8] },
      { path: 'layers.0.attn.o_proj.weight', shape: [8, 8] },
      { path: 'layers.0.ff_norm.weight', shape: [8] },
      { path: 'layers.0.ff.gate_proj.weight', shape: [12, 8] },
      { path: 'layers.0.ff.up_proj.weight', shape: [12, 8] },
      { path: 'layers.0.ff.down_proj.weight', shape: [8, 12] },
      { path: 'norm.weight', shape: [8] },
      { path: 'head.weight', shape: [9, 8] },
    ])
  })

  it('can be the first transformer', () => {
    expect(ops(first)).toEqual([
      ...['embedding', 'scale', 'embedding', 'add'],
      ...['linear', 'linear', 'linear', 'attention', 'linear', 'add', 'layer-norm'],
      ...['linear', 'activation', 'linear', 'add', 'layer-norm'],
      ...['gather-rows', 'linear'],
    ])
    const paths = parameters(new Decoder(first)).map(({ path }) => path)
    expect(paths).toContain('layers.0.ff.up_proj.bias')
    expect(paths).not.toContain('norm.weight')
    expect(paths).not.toContain('head.weight')
  })

  it('has multi-head, grouped-query and multi-query attention', () => {
    const spec = (kvHeads?: number) => {
      const model = new Decoder({ ...modern, kvHeads })
      return modelSpec(model, record(model)).layers
    }
    expect(spec()).toEqual([{ kvHeads: 4, headSize: 2 }])
    expect(spec(2)).toEqual([{ kvHeads: 2, headSize: 2 }])
    expect(spec(1)).toEqual([{ kvHeads: 1, headSize: 2 }])
    expect(() => spec(3)).toThrow('attention: heads must be a multiple of kvHeads (3), got 4')
  })

  it('has each kind of positions', () => {
    const learnt = new Decoder({ ...modern, positions: learned(16, 8) })
    expect(parameters(learnt)).toContainEqual({ path: 'positions.weight', shape: [16, 8] })
    expect(listing(record(learnt)).slice(0, 3)).toEqual([
      'embed: embedding(tokens, embed.weight) (N, 8)',
      'positions: embedding(positions, positions.weight) (N, 8)',
      'positions: add(embed, positions) (N, 8)',
    ])
    expect(node({ ...modern, positions: alibi() }, 'attention').inputs).toHaveProperty('slopes')
    expect(ops({ ...modern, positions: noPositions() })).not.toContain('rope')
  })

  it('has each kind of feed-forward', () => {
    const kind = (feedForward: DecoderConfig['feedForward']) => {
      const { attributes, inputs } = node({ ...modern, feedForward }, 'activation')
      return [attributes.kind, 'up' in inputs]
    }
    expect(kind(mlp(relu))).toEqual(['relu', false])
    expect(kind(mlp(gelu))).toEqual(['gelu', false])
    expect(kind(swiglu)).toEqual(['silu', true])
    expect(kind(geglu)).toEqual(['gelu', true])
  })

  it('takes a mask, a head size and an epsilon', () => {
    const config = { ...modern, mask: slidingWindow(5), headSize: 6, epsilon: 0.5 }
    expect(node(config, 'attention').attributes).toMatchObject({ window: 5, headSize: 6 })
    expect(node(config, 'rms-norm').attributes).toEqual({ epsilon: 0.5 })
    expect(node(config, 'attention').name).toBe('layers.0.attn')
  })

  it('refuses heads that do not divide the width', () => {
    expect(() => new Decoder({ ...modern, heads: 3 })).toThrow(
      'Attention: heads must be a divisor of width (8), got 3',
    )
  })

  const json = {
    model_type: 'kvasir_decoder',
    vocab_size: 9,
    max_position_embeddings: 16,
    hidden_size: 8,
    num_hidden_layers: 1,
    num_attention_heads: 4,
  }

  it('is made from a config.json', () => {
    const choices = { positions: 'rotary', norm: 'rms_norm', feed_forward: 'swiglu', bias: false }
    const others = { num_key_value_heads: 2, intermediate_size: 12, tie_word_embeddings: false }
    expect(record(modelFor({ ...json, ...choices, ...others }))).toEqual(record(new Decoder(modern)))
    const words = { positions: 'sinusoidal', norm: 'layer_norm', residual: 'post_norm', feed_forward: 'relu' }
    const scaled = { embedding_scale: Math.sqrt(8) }
    expect(record(modelFor({ ...json, ...words, ...scaled }))).toEqual(record(new Decoder(first)))
  })
})

/** Names and shapes of the tensors in a safetensors file. */
function tensorsOf(path: string): Map<string, number[]> {
  const file = openSync(path, 'r')
  const size = Buffer.alloc(8)
  readSync(file, size, 0, 8, 0)
  const header = Buffer.alloc(Number(size.readBigUInt64LE()))
  readSync(file, header, 0, header.length, 8)
  const entries = Object.entries<{ shape: number[] }>(JSON.parse(header.toString()))
  return new Map(
    entries.filter(([name]) => name !== '__metadata__').map(([name, { shape }]) => [name, shape]),
  )
}

describe.skipIf(!sharedDir)('the parameters of a checkpoint', () => {
  it.each(['stories260K', 'gpt-nano-sort', 'tiny/gpt2', 'tiny/gpt_neo', 'tiny/llama'])(
    '%s are its tensors',
    (name) => {
      const model = modelFor(JSON.parse(readFileSync(shared('models', name, 'config.json'), 'utf8')))
      const tensors = tensorsOf(shared('models', name, 'model.safetensors'))
      const { prefixes, transposed, ignored } = model.checkpoint
      const unclaimed = new Set(tensors.keys())
      for (const { path, shape } of parameters(model)) {
        const key = prefixes.map((prefix) => prefix + path).find((candidate) => tensors.has(candidate))
        const turned = transposed.some((pattern) => new RegExp(pattern).test(path))
        expect([path, tensors.get(key!)]).toEqual([path, turned ? [...shape].reverse() : shape])
        unclaimed.delete(key!)
      }
      expect(
        [...unclaimed].filter((key) => !ignored.some((pattern) => new RegExp(pattern).test(key))),
      ).toEqual([])
      expect(modelSpec(model, record(model)).layers.length).toBeGreaterThan(0)
    },
  )
})

describe('keys that are not read', () => {
  const isIgnored = (config: object, key: string) =>
    modelFor(config).checkpoint.ignored.some((pattern) => new RegExp(pattern).test(key))

  it.each([
    ['gpt2', 'h.0.attn.bias', true],
    ['gpt2', 'transformer.h.11.attn.masked_bias', true],
    ['gpt2', 'lm_head.weight', true],
    ['gpt2', 'h.0.attn.c_attn.bias', false],
    ['gpt2', 'h.0.mlp.bias', false],
    ['gpt_neo', 'transformer.h.0.attn.attention.masked_bias', true],
    ['gpt_neo', 'transformer.h.0.attn.attention.bias', true],
    ['gpt_neo', 'transformer.h.0.attn.attention.out_proj.bias', false],
    ['llama', 'model.layers.0.self_attn.rotary_emb.inv_freq', true],
    ['llama', 'model.layers.0.self_attn.q_proj.bias', false],
  ])('%s: %s', (modelType, key, expected) => {
    expect(isIgnored({ model_type: modelType }, key)).toBe(expected)
  })
})
