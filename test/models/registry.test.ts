import { afterEach, describe, expect, it } from 'vitest'
import { CheckpointError } from '#kvasir/errors.js'
import { GPTNeo } from '#kvasir/models/gpt-neo.js'
import { GPT2 } from '#kvasir/models/gpt2.js'
import { Llama } from '#kvasir/models/llama.js'
import { modelFor, registerModel } from '#kvasir/models/registry.js'
import {
  CausalLM,
  type CheckpointLayout,
  Embedding,
  gatherRows,
  parameters,
  record,
  type Step,
  type Tensor,
  TiedLinear,
} from '#kvasir/nn/index.js'

class Bigram extends CausalLM<{ words: number }> {
  embed = new Embedding(this.config.words, 4)
  head = new TiedLinear(this.embed)
  maxPositions = 8

  forward(step: Step): Tensor {
    return this.head.forward(gatherRows(this.embed.forward(step.tokens), step.outputRows))
  }
}

/** The error that a config.json gives, without its stack. */
function errorOf(config: unknown) {
  try {
    modelFor(config)
  } catch (error) {
    expect(error).toBeInstanceOf(CheckpointError)
    const { code, message, problem } = error as CheckpointError
    return { code, message, field: problem.field }
  }
  return 'no error'
}

describe('modelFor', () => {
  it.each([
    ['gpt2', GPT2],
    ['gpt_neo', GPTNeo],
    ['llama', Llama],
  ])('makes a %s, with the defaults of Hugging Face', (modelType, Model) => {
    expect(modelFor({ model_type: modelType })).toBeInstanceOf(Model)
  })

  it('lists the known types for another, and says how to add one', () => {
    expect(errorOf({ model_type: 'mamba' })).toEqual({
      code: 'ERR_UNSUPPORTED',
      field: 'model_type',
      message:
        'config.json: model_type must be one of bloom, gemma, gemma2, gemma3, gemma3_text, gpt2, gpt_neo, gpt_neox, ' +
        'gptj, kvasir_decoder, llama, mistral, mixtral, olmo2, opt, phi3, qwen2, qwen3, qwen3_moe, smollm3, got "mamba"; ' +
        "a class of your own is added by registerModel('mamba', MyModel)",
    })
  })

  it.each([
    ['a name like any property', { model_type: 'constructor' }, 'got "constructor"'],
    ['a name with a quote', { model_type: "x')" }, "registerModel('my_type', MyModel)"],
    ['no type', {}, 'got nothing'],
    ['a type that is no string', { model_type: ['gpt2'] }, 'got Array'],
    ['no object', [1], 'its content must be an object'],
    ['nothing', null, 'its content must be an object'],
    [
      'quantised weights',
      { model_type: 'llama', quantization_config: {} },
      'quantization_config must be absent, got Object',
    ],
  ])('refuses %s', (_, config, message) => {
    expect(errorOf(config)).toMatchObject({ message: expect.stringContaining(message) })
  })
})

describe('registerModel', () => {
  afterEach(() => registerModel('gpt2', GPT2))

  it('adds a class, which gets config.json as it is', () => {
    registerModel('bigram', Bigram)
    const model = modelFor({ model_type: 'bigram', words: 5, other: [1] })
    expect(model).toBeInstanceOf(Bigram)
    expect(model.config).toEqual({ model_type: 'bigram', words: 5, other: [1] })
    expect(parameters(model)).toEqual([{ path: 'embed.weight', shape: [5, 4] }])
    expect(record(model).nodes.map(({ op }) => op)).toEqual(['embedding', 'gather-rows', 'linear'])
    expect(model.checkpoint).toEqual({ prefixes: [''], transposed: [], ignored: [] })
    expect(errorOf({ model_type: 'x' })).toMatchObject({
      message: expect.stringContaining('bigram, bloom, gemma'),
    })
  })

  it('uses what the class says about its config and checkpoints', () => {
    class Checked extends Bigram {
      static override checkpoint: CheckpointLayout = { prefixes: ['model.'], transposed: [], ignored: [] }
      static override readConfig = (json: Record<string, unknown>) => ({ words: Number(json.vocabulary) })
    }
    registerModel('checked', Checked)
    const model = modelFor({ model_type: 'checked', vocabulary: '6' })
    expect(model.config).toEqual({ words: 6 })
    expect(model.checkpoint.prefixes).toEqual(['model.'])
  })

  it('replaces a known type', () => {
    registerModel('gpt2', Bigram)
    expect(modelFor({ model_type: 'gpt2', words: 5 })).toBeInstanceOf(Bigram)
  })

  it.each<[string, unknown, unknown]>([
    ['registerModel: modelType must be a string, got 1', 1, Bigram],
    ['registerModel: modelType must be a name, got ""', '', Bigram],
    ['registerModel: Model must be a class that extends CausalLM, got a function', 'x', class {}],
    ['registerModel: Model must be a class that extends CausalLM, got undefined', 'x', undefined],
    ['registerModel: Model must be a class that extends CausalLM, got Bigram', 'x', new Bigram({ words: 2 })],
  ])('%s', (message, modelType, Model) => {
    expect(() => registerModel(modelType as string, Model as never)).toThrow(message)
  })
})

const gpt2 = { model_type: 'gpt2', n_embd: 64, n_head: 4, n_layer: 2, n_positions: 16, vocab_size: 9 }
const neo = {
  model_type: 'gpt_neo',
  hidden_size: 64,
  num_heads: 4,
  num_layers: 2,
  attention_types: [[['global', 'local'], 1]],
}
const llama = {
  model_type: 'llama',
  hidden_size: 64,
  intermediate_size: 160,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_hidden_layers: 2,
  max_position_embeddings: 128,
}
const decoder = {
  model_type: 'kvasir_decoder',
  vocab_size: 9,
  max_position_embeddings: 16,
  hidden_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  positions: 'rotary',
  norm: 'rms_norm',
  feed_forward: 'swiglu',
}
const gptj = { model_type: 'gptj', n_embd: 64, n_head: 4, n_layer: 2, rotary_dim: 8 }
/** A small one of a family whose fields have LLaMA's names. */
const family = (type: string) => ({ ...llama, model_type: type, head_dim: 16 })
const others = [
  'gpt_neox',
  'opt',
  'mistral',
  'mixtral',
  'qwen2',
  'qwen3',
  'qwen3_moe',
  'phi3',
  'gemma',
  'gemma2',
]
  .concat(['gemma3_text', 'smollm3', 'olmo2'])
  .map(family)
const llama3 = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 }

const malformed: [field: string, config: object, rest: string][] = [
  ['n_head', { ...gpt2, n_head: 0 }, 'must be an integer from 1 to 16384, got 0'],
  ['n_head', { ...gpt2, n_head: 7 }, 'must be a divisor of n_embd (64), got 7'],
  ['n_head', { ...gpt2, n_head: '4' }, 'must be an integer from 1 to 16384, got "4"'],
  [
    'n_head',
    { ...gpt2, n_head: { constructor: { name: 'x'.repeat(999) } } },
    'must be an integer from 1 to 16384, got Object',
  ],
  ['n_layer', { ...gpt2, n_layer: 1e9 }, 'must be an integer from 1 to 1024, got 1000000000'],
  ['n_layer', { ...gpt2, n_layer: 2.5 }, 'must be an integer from 1 to 1024, got 2.5'],
  ['vocab_size', { ...gpt2, vocab_size: 0 }, 'must be an integer from 1 to 16777216, got 0'],
  ['vocab_size', { ...gpt2, vocab_size: 2 ** 31 }, 'must be an integer from 1 to 16777216, got 2147483648'],
  ['n_embd', { ...gpt2, n_embd: 2 ** 40 }, 'must be an integer from 1 to 1048576, got 1099511627776'],
  ['n_embd', { ...gpt2, n_embd: Number.NaN }, 'must be an integer from 1 to 1048576, got NaN'],
  ['n_inner', { ...gpt2, n_inner: -1 }, 'must be an integer from 1 to 1048576, got -1'],
  ['layer_norm_epsilon', { ...gpt2, layer_norm_epsilon: 0 }, 'must be a number from 1e-30 to 1e30, got 0'],
  ['scale_attn_weights', { ...gpt2, scale_attn_weights: 'yes' }, 'must be true or false, got "yes"'],
  ['tie_word_embeddings', { ...gpt2, tie_word_embeddings: 1 }, 'must be true or false, got 1'],
  [
    'activation_function',
    { ...gpt2, activation_function: 3 },
    'must be one of relu, gelu, gelu_python, gelu_new, gelu_fast, gelu_pytorch_tanh, silu, swish, relu2, got 3',
  ],
  ['num_heads', { ...neo, num_heads: 5 }, 'must be a divisor of hidden_size (64), got 5'],
  ['attention_types', { ...neo, num_layers: 3 }, 'must be for as many layers as num_layers (3), got 2'],
  [
    'attention_types',
    {
      ...neo,
      attention_types: [
        [['local'], 1024],
        [['local'], 1024],
      ],
    },
    'must be for at most 1024 layers, got 2048',
  ],
  [
    'attention_types',
    { ...neo, attention_types: [[['local'], 1e9]] },
    'must be an integer from 1 to 1024, got 1000000000',
  ],
  [
    'attention_types',
    { ...neo, attention_types: [[[], 2]] },
    'must be a list such as [[["global", "local"], 12]], got Array',
  ],
  [
    'attention_types',
    { ...neo, attention_types: [null] },
    'must be a list such as [[["global", "local"], 12]], got null',
  ],
  [
    'attention_types',
    { ...neo, attention_types: 'x' },
    'must be a list such as [[["global", "local"], 12]], got "x"',
  ],
  ['num_key_value_heads', { ...llama, num_key_value_heads: 0 }, 'must be an integer from 1 to 16384, got 0'],
  [
    'num_key_value_heads',
    { ...llama, num_key_value_heads: 3 },
    'must be a divisor of num_attention_heads (4), got 3',
  ],
  ['num_attention_heads', { ...llama, hidden_size: 66 }, 'must be a divisor of hidden_size (66), got 4'],
  [
    'num_hidden_layers',
    { ...llama, num_hidden_layers: 1e9 },
    'must be an integer from 1 to 1024, got 1000000000',
  ],
  [
    'head_dim',
    { ...llama, head_dim: 7 },
    'must be such that a positive even number of its channels rotates, got 7',
  ],
  ['rope_theta', { ...llama, rope_theta: Number.NaN }, 'must be a number from 2 to 1e30, got NaN'],
  ['rope_theta', { ...llama, rope_theta: Infinity }, 'must be a number from 2 to 1e30, got Infinity'],
  ['rope_theta', { ...llama, rope_parameters: { rope_theta: 0 } }, 'must be a number from 2 to 1e30, got 0'],
  ['rope_scaling', { ...llama, rope_scaling: 'linear' }, 'must be an object, got "linear"'],
  [
    'rope_scaling.factor',
    { ...llama, rope_scaling: { type: 'linear' } },
    'must be a number from 1e-30 to 1e30, got nothing',
  ],
  [
    'rope_parameters.high_freq_factor',
    { ...llama, rope_parameters: { ...llama3, high_freq_factor: 1 } },
    'must be above low_freq_factor (1), got 1',
  ],
  ['partial_rotary_factor', { ...llama, partial_rotary_factor: 2 }, 'must be a number from 0 to 1, got 2'],
  ['vocab_size', { ...decoder, vocab_size: undefined }, 'must be an integer from 1 to 16777216, got nothing'],
  ['norm', { ...decoder, norm: undefined }, 'must be one of layer_norm, rms_norm, got nothing'],
  [
    'num_key_value_heads',
    { ...decoder, num_key_value_heads: 3 },
    'must be a divisor of num_attention_heads (4), got 3',
  ],
  ['rotary_dim', { ...gptj, rotary_dim: 18 }, 'must be an integer from 1 to 16, got 18'],
  [
    'rotary_dim',
    { ...gptj, rotary_dim: 3 },
    'must be such that a positive even number of its channels rotates, got 3',
  ],
  ['rotary_pct', { ...family('gpt_neox'), rotary_pct: 0 }, 'must be a number from 1e-30 to 1e30, got 0'],
  [
    'num_attention_heads',
    { ...family('opt'), num_attention_heads: 5 },
    'must be a divisor of hidden_size (64), got 5',
  ],
  [
    'word_embed_proj_dim',
    { ...family('opt'), word_embed_proj_dim: -1 },
    'must be an integer from 1 to 1048576, got -1',
  ],
  [
    'n_head',
    { model_type: 'bloom', hidden_size: 64, n_head: 7 },
    'must be a divisor of hidden_size (64), got 7',
  ],
  ['hidden_size', { model_type: 'bloom', n_embed: 'x' }, 'must be an integer from 1 to 1048576, got "x"'],
  [
    'sliding_window',
    { ...family('mistral'), sliding_window: 0 },
    'must be an integer from 1 to 16777216, got 0',
  ],
  [
    'max_window_layers',
    { ...family('qwen2'), max_window_layers: -1 },
    'must be an integer from 1 to 1024, got -1',
  ],
  [
    'layer_types',
    { ...family('qwen3'), layer_types: ['full_attention'] },
    'must be a list of 2 types, one a layer, got Array',
  ],
  [
    'layer_types[1]',
    { ...family('gemma2'), layer_types: ['full_attention', 7] },
    'must be one of full_attention, sliding_attention, got 7',
  ],
  [
    'rope_scaling.short_factor',
    { ...family('phi3'), rope_scaling: { type: 'su', short_factor: [1], long_factor: [1] } },
    'must be a list of 8 numbers above 0, got Array',
  ],
  [
    'attn_logit_softcapping',
    { ...family('gemma2'), attn_logit_softcapping: -1 },
    'must be a number from 1e-30 to 1e30, got -1',
  ],
  ['text_config', { model_type: 'gemma3', text_config: [] }, 'must be an object, got Array'],
  [
    'no_rope_layers',
    { ...family('smollm3'), no_rope_layers: [1] },
    'must be a list of 2 numbers, 1 or 0, got Array',
  ],
  ['no_rope_layers[1]', { ...family('smollm3'), no_rope_layers: [1, 2] }, 'must be 1 or 0, got 2'],
  [
    'num_experts_per_tok',
    { ...family('mixtral'), num_local_experts: 4, num_experts_per_tok: 5 },
    'must be an integer from 1 to 4, got 5',
  ],
  [
    'num_experts',
    { ...family('qwen3_moe'), num_experts: 5000 },
    'must be an integer from 1 to 1024, got 5000',
  ],
  [
    'mlp_only_layers',
    { ...family('qwen3_moe'), mlp_only_layers: ['x'] },
    "must be a list of layers' indices, got Array",
  ],
  [
    'max_position_embeddings',
    { ...decoder, positions: 'sinusoidal', max_position_embeddings: 2 ** 24 },
    'must be at most 2^26 / hidden_size with sinusoidal positions, got 16777216',
  ],
]

const unsupported: [field: string, config: object, rest: string][] = [
  [
    'hidden_act',
    { ...llama, hidden_act: 'xielu' },
    'must be one of relu, gelu, gelu_python, gelu_new, gelu_fast, gelu_pytorch_tanh, silu, swish, relu2, got "xielu"',
  ],
  [
    'hidden_act',
    { ...llama, hidden_act: 'toString' },
    'must be one of relu, gelu, gelu_python, gelu_new, gelu_fast, gelu_pytorch_tanh, silu, swish, relu2, got "toString"',
  ],
  [
    'rope_scaling.rope_type',
    { ...llama, rope_scaling: { rope_type: 'spiral' } },
    'must be one of default, linear, ntk, dynamic, yarn, llama3, longrope, got "spiral"',
  ],
  [
    'use_bidirectional_attention',
    { ...family('gemma3_text'), use_bidirectional_attention: true },
    'must be false, got true',
  ],
  [
    'layer_types[0]',
    { ...family('qwen3'), layer_types: ['linear_attention', 'full_attention'] },
    'must be one of full_attention, sliding_attention, got "linear_attention"',
  ],
  ['n_embd', { ...gpt2, n_embd: 2048 }, 'must be such that a head has at most 256 channels, got 512'],
  ['head_dim', { ...llama, head_dim: 258 }, 'must be such that a head has at most 256 channels, got 258'],
  [
    'positions',
    { ...decoder, positions: 't5' },
    'must be one of sinusoidal, learned, rotary, alibi, none, got "t5"',
  ],
]

describe('a config.json', () => {
  it.each([gpt2, neo, llama, decoder, gptj, { model_type: 'bloom' }, ...others])(
    'is read: $model_type',
    (config) => {
      expect(errorOf(config)).toBe('no error')
    },
  )

  it.each(malformed)('with a malformed %s, %o', (field, config, rest) => {
    expect(errorOf(config)).toEqual({
      code: 'ERR_FILE_FORMAT',
      field,
      message: `config.json: ${field} ${rest}`,
    })
  })

  it.each(unsupported)('that asks for an unknown %s, %o', (field, config, rest) => {
    expect(errorOf(config)).toEqual({
      code: 'ERR_UNSUPPORTED',
      field,
      message: `config.json: ${field} ${rest}`,
    })
  })

  it('is read from its own fields alone, null being absent', () => {
    const inherited = Object.create({ n_layer: 1e9 })
    expect(errorOf(Object.assign(inherited, gpt2, { n_layer: null, n_inner: null }))).toBe('no error')
    expect(
      JSON.stringify(modelFor(JSON.parse('{"model_type":"gpt2","__proto__":{"n_embd":0}}')).config),
    ).toContain('"n_embd":768')
  })

  it('has the largest sizes without growing memory', () => {
    const before = process.memoryUsage().rss
    const huge = {
      n_embd: 2 ** 20,
      n_head: 2 ** 14,
      n_positions: 2 ** 24,
      vocab_size: 2 ** 24,
      n_inner: 2 ** 20,
      n_layer: 1024,
    }
    const model = modelFor({ ...gpt2, ...huge })
    record(model)
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20)
  })
})

/** What record makes of a LLaMA's rotary positions. */
function ropeTable(config: object) {
  const { nodes } = record(modelFor({ ...llama, ...config }))
  const { attributes } = nodes.find(({ op }) => op === 'rope-table')!
  return attributes as { frequencies: number[]; magnitude: number }
}

describe("a LLaMA's rotary positions", () => {
  const plain = Array.from({ length: 8 }, (_, i) => 1 / 10000 ** (i / 8))

  it.each<[string, object]>([
    ['none', {}],
    ['null', { rope_scaling: null, rope_parameters: null }],
    ['default', { rope_parameters: { rope_type: 'default', rope_theta: 10000 } }],
    ['dynamic, within the positions the model has', { rope_scaling: { type: 'dynamic', factor: 4 } }],
  ])('are plain for %s', (_, config) => {
    expect(ropeTable(config)).toEqual({ frequencies: plain, magnitude: 1 })
  })

  it.each<[string, object]>([
    ['as before', { rope_theta: 10000, rope_scaling: { type: 'linear', factor: 2 } }],
    [
      'as transformers 5 writes them',
      { rope_parameters: { rope_type: 'linear', factor: 2, rope_theta: 10000 } },
    ],
  ])('are read %s', (_, config) => {
    expect(ropeTable(config)).toEqual({ frequencies: plain.map((f) => f / 2), magnitude: 1 })
  })

  it('take theta and the share that rotates from either place', () => {
    const expected = { frequencies: [1, 500 ** -0.5], magnitude: 1 }
    expect(ropeTable({ rope_theta: 500, partial_rotary_factor: 0.25 })).toEqual(expected)
    expect(ropeTable({ rope_parameters: { rope_theta: 500, partial_rotary_factor: 0.25 } })).toEqual(expected)
  })

  it('are of LLaMA 3.1, the original positions being in the parameters', () => {
    const config = {
      head_dim: 128,
      rope_theta: 500000,
      max_position_embeddings: 131072,
      rope_scaling: { ...llama3, original_max_position_embeddings: 8192 },
    }
    const { frequencies } = ropeTable(config)
    expect(frequencies[1]).toBeCloseTo(0.8146172338565447, 14)
    expect(frequencies[32]! / 0.0005248461609929547).toBeCloseTo(1, 13)
  })

  it.each<[string, object, number]>([
    ['its factor', { factor: 4, original_max_position_embeddings: 64 }, 0.1 * Math.log(4) + 1],
    ['the ratio of positions', { original_max_position_embeddings: 16 }, 0.1 * Math.log(8) + 1],
    [
      'mscale',
      { factor: 40, mscale: 0.7, mscale_all_dim: 1 },
      (0.1 * 0.7 * Math.log(40) + 1) / (0.1 * Math.log(40) + 1),
    ],
    ['attention_factor', { factor: 40, mscale: 0.7, mscale_all_dim: 1, attention_factor: 3 }, 3],
  ])('of YaRN have the magnitude of %s', (_, parameters, magnitude) => {
    expect(ropeTable({ rope_scaling: { rope_type: 'yarn', ...parameters } }).magnitude).toBeCloseTo(
      magnitude,
      14,
    )
  })
})
