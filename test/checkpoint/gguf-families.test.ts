import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadModel } from 'kvasir'
import { describe, expect, it } from 'vitest'
import { rootDir } from '../shared.js'
import { readTensors, temporaryFolder } from './folders.js'
import type { Tensor, Value } from './gguf-writer.js'
import { writeGguf } from './gguf-writer.js'

// Fixtures told as GGUF files, with what llama.cpp's converter makes of each family's tensors and configuration.

interface Family {
  fixture: string
  architecture: string
  /** What a GGUF file cannot say, or says by a model's size: as such files have it. */
  config?: Record<string, unknown>
  values?: (config: Record<string, number>) => [string, Value[1], unknown][]
  names: Record<string, string>
  /** Numbers of a tensor as the file has them, by the name in Hugging Face's layout. */
  change?: (name: string, matrix: Matrix, config: Record<string, number>) => Matrix
}

interface Matrix {
  numbers: Float32Array
  rows: number
  columns: number
}

const reordered = ({ numbers, rows, columns }: Matrix, from: (row: number) => number): Matrix => ({
  numbers: numbers.map((_, i) => numbers[from(Math.floor(i / columns)) * columns + (i % columns)]!),
  rows,
  columns,
})

/** Halves of a head in turn: row 2i + h of a head is its row h * D/2 + i. */
const paired = (matrix: Matrix, heads: number) => {
  const D = matrix.rows / heads
  return reordered(matrix, (row) => row - (row % D) + ((row % 2) * D) / 2 + Math.floor((row % D) / 2))
}

/** Of (heads, 3, D), the rows of all queries, then of all keys, then of all values. */
const unmerged = (matrix: Matrix, heads: number) => {
  const D = matrix.rows / heads / 3
  return reordered(matrix, (row) => {
    const [part, inPart] = [Math.floor(row / (heads * D)), row % (heads * D)]
    return (Math.floor(inPart / D) * 3 + part) * D + (inPart % D)
  })
}

const plusOne = (name: string, matrix: Matrix): Matrix =>
  name.endsWith('norm.weight') ? { ...matrix, numbers: matrix.numbers.map((x) => x + 1) } : matrix

const llamaNames = {
  'model.embed_tokens': 'token_embd',
  'model.norm': 'output_norm',
  lm_head: 'output',
  input_layernorm: 'attn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'self_attn.q_norm': 'attn_q_norm',
  'self_attn.k_norm': 'attn_k_norm',
  post_attention_layernorm: 'ffn_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
}
const sandwichNames = {
  ...llamaNames,
  post_attention_layernorm: 'post_attention_norm',
  pre_feedforward_layernorm: 'ffn_norm',
  post_feedforward_layernorm: 'post_ffw_norm',
}
const mergedNames = {
  input_layernorm: 'attn_norm',
  post_attention_layernorm: 'ffn_norm',
  'mlp.dense_h_to_4h': 'ffn_up',
  'mlp.dense_4h_to_h': 'ffn_down',
}

const llamaValues = (c: Record<string, number>): [string, Value[1], unknown][] => {
  const D = c.head_dim ?? c.hidden_size! / c.num_attention_heads!
  return [
    ['context_length', 'u32', c.max_position_embeddings],
    ['embedding_length', 'u32', c.hidden_size],
    ['feed_forward_length', 'u32', c.intermediate_size],
    ['block_count', 'u32', c.num_hidden_layers],
    ['attention.head_count', 'u32', c.num_attention_heads],
    ['attention.head_count_kv', 'u32', c.num_key_value_heads],
    ['attention.key_length', 'u32', D],
    ['attention.value_length', 'u32', D],
    ['rope.dimension_count', 'u32', D * (c.partial_rotary_factor ?? 1)],
    ['rope.freq_base', 'f32', c.rope_theta ?? 10000],
    ['attention.layer_norm_rms_epsilon', 'f32', 1e-6],
  ]
}
const windowed = (c: Record<string, number>): [string, Value[1], unknown][] => [
  ...llamaValues(c),
  ['attention.sliding_window', 'u32', c.sliding_window ?? 0],
]

const families: Family[] = [
  { fixture: 'qwen2', architecture: 'qwen2', config: { use_sliding_window: false }, names: llamaNames },
  { fixture: 'qwen3', architecture: 'qwen3', names: llamaNames },
  {
    fixture: 'phi3',
    architecture: 'phi3',
    config: { rms_norm_eps: 1e-6 },
    values: windowed,
    names: { ...llamaNames, 'self_attn.qkv_proj': 'attn_qkv', 'mlp.gate_up_proj': 'ffn_up' },
  },
  {
    fixture: 'phi3-long',
    architecture: 'phi3',
    config: { rms_norm_eps: 1e-6 },
    values: (c) => [
      ...windowed(c),
      ['rope.scaling.original_context_length', 'u32', 8],
      ['rope.scaling.attn_factor', 'f32', Math.sqrt(2)],
    ],
    names: { ...llamaNames, 'self_attn.qkv_proj': 'attn_qkv', 'mlp.gate_up_proj': 'ffn_up' },
  },
  { fixture: 'gemma', architecture: 'gemma', names: llamaNames, change: plusOne },
  {
    fixture: 'gemma2',
    architecture: 'gemma2',
    config: { query_pre_attn_scalar: 10 },
    values: (c) => [
      ...windowed(c),
      ['attn_logit_softcapping', 'f32', 2],
      ['final_logit_softcapping', 'f32', 3],
    ],
    names: sandwichNames,
    change: plusOne,
  },
  {
    fixture: 'gemma3',
    architecture: 'gemma3',
    config: { query_pre_attn_scalar: 10 },
    values: (c) => [
      ...windowed({ ...c, rope_theta: 1e6 }),
      ['attention.sliding_window_pattern', 'u32', 3],
      ['rope.scaling.type', 'string', 'linear'],
      ['rope.scaling.factor', 'f32', 8],
    ],
    names: sandwichNames,
    change: plusOne,
  },
  {
    fixture: 'smollm3',
    architecture: 'smollm3',
    names: llamaNames,
    values: (c) => llamaValues({ ...c, rope_theta: 2e6 }),
    change: (name, matrix, c) => {
      if (name.includes('q_proj')) return paired(matrix, c.num_attention_heads!)
      return name.includes('k_proj') ? paired(matrix, c.num_key_value_heads!) : matrix
    },
  },
  {
    fixture: 'olmo2',
    architecture: 'olmo2',
    config: { rms_norm_eps: 1e-6 },
    names: {
      ...llamaNames,
      post_attention_layernorm: 'post_attention_norm',
      post_feedforward_layernorm: 'post_ffw_norm',
    },
  },
  {
    fixture: 'bloom',
    architecture: 'bloom',
    names: {
      ...mergedNames,
      'transformer.word_embeddings': 'token_embd',
      'transformer.word_embeddings_layernorm': 'token_embd_norm',
      'transformer.ln_f': 'output_norm',
      'self_attention.query_key_value': 'attn_qkv',
      'self_attention.dense': 'attn_output',
    },
    values: (c) => [
      ['context_length', 'u32', 2048],
      ['embedding_length', 'u32', c.hidden_size],
      ['feed_forward_length', 'u32', 4 * c.hidden_size!],
      ['block_count', 'u32', c.n_layer],
      ['attention.head_count', 'u32', c.n_head],
      ['attention.head_count_kv', 'u32', c.n_head],
      ['attention.layer_norm_epsilon', 'f32', 1e-5],
    ],
    change: (name, matrix, c) => (name.includes('query_key_value') ? unmerged(matrix, c.n_head!) : matrix),
  },
  ...['gpt-neox', 'gpt-neox-serial'].map(
    (fixture): Family => ({
      fixture,
      architecture: 'gptneox',
      names: {
        ...mergedNames,
        'gpt_neox.embed_in': 'token_embd',
        'gpt_neox.final_layer_norm': 'output_norm',
        embed_out: 'output',
        'attention.query_key_value': 'attn_qkv',
        'attention.dense': 'attn_output',
      },
      config: { rotary_emb_base: 10000 }, // which the converter does not write
      values: (c) => [
        ['context_length', 'u32', c.max_position_embeddings],
        ['embedding_length', 'u32', c.hidden_size],
        ['feed_forward_length', 'u32', c.intermediate_size],
        ['block_count', 'u32', c.num_hidden_layers],
        ['attention.head_count', 'u32', c.num_attention_heads],
        ['rope.dimension_count', 'u32', (c.rotary_pct! * c.hidden_size!) / c.num_attention_heads!],
        ['use_parallel_residual', 'bool', c.use_parallel_residual ?? 1],
        ['attention.layer_norm_epsilon', 'f32', 1e-5],
      ],
      change: (name, matrix, c) =>
        name.includes('query_key_value') ? unmerged(matrix, c.num_attention_heads!) : matrix,
    }),
  ),
]

/** A fixture with another configuration, and the same as a GGUF file. */
function writeBoth({ fixture, architecture, config: own, values = llamaValues, names, change }: Family) {
  const folder = temporaryFolder()
  cpSync(join(rootDir, 'test', 'fixtures', fixture), folder, { recursive: true })
  const json = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))
  Object.assign(json.text_config ?? json, own)
  writeFileSync(join(folder, 'config.json'), JSON.stringify(json))
  const config = json.text_config ?? json
  const { header, data } = readTensors(folder)
  const tensors: Tensor[] = []
  for (const [key, { shape, data_offsets }] of Object.entries(header)) {
    if (key === '__metadata__' || /^(vision_tower|multi_modal)/.test(key)) continue
    const [, layer, module, ending] = /^(?:.*\.(?:layers|h)\.(\d+)\.)?(.*)\.(\w+)$/.exec(
      key.replace('language_model.', ''),
    )!
    const name = `${layer === undefined ? '' : `blk.${layer}.`}${names[module!]}.${ending}`
    const numbers = new Float32Array(new Uint8Array(data.subarray(...data_offsets)).buffer)
    const matrix = { numbers, rows: shape[0]!, columns: shape[1] ?? 1 }
    const changed = change?.(key, matrix, config) ?? matrix
    tensors.push(asTensor(name, shape, changed.numbers))
  }
  for (const kind of ['short', 'long'])
    if (json.rope_scaling?.[`${kind}_factor`]) {
      const factors = Float32Array.from(json.rope_scaling[`${kind}_factor`])
      tensors.push(asTensor(`rope_factors_${kind}.weight`, [factors.length], factors))
    }
  const path = join(folder, 'model.gguf')
  const own_ = values(config).map(([key, type, value]): Value => [`${architecture}.${key}`, type, value])
  writeGguf(path, { values: [['general.architecture', 'string', architecture], ...own_], tensors })
  return { folder, path }
}

function asTensor(name: string, shape: readonly number[], numbers: Float32Array): Tensor {
  return { name, dims: shape.toReversed(), type: 0, data: new Uint8Array(numbers.buffer) }
}

describe.each(families)('$fixture in GGUF', (family) => {
  it('has the logits of the folder', async () => {
    const { folder, path } = writeBoth(family)
    await using expected = await loadModel(folder, { device: 'cpu' })
    await using found = await loadModel(path, { device: 'cpu' })
    const ids = Array.from({ length: 24 }, (_, i) => (i * 17 + 3) % 53)
    const [a, b] = [(await expected.logits(ids)).data, (await found.logits(ids)).data]
    expect(Math.max(...a.map((x, i) => Math.abs(x - b[i]!)))).toBeLessThan(1e-5)
  })
})
