import type { Architecture, GgufTensors } from './architecture.js'
import { vocabularySize } from './architecture.js'
import type { GgufMetadata } from './metadata.js'

// LLaMA and what descends from it. Keys of metadata begin with the architecture's name.

type Config = Record<string, unknown>

const rotaryTypes: Record<
  string,
  (metadata: GgufMetadata, prefix: string) => Record<string, unknown> | null
> = {
  none: () => null,
  // Files of older converters say only by how much positions are divided.
  linear: (metadata, prefix) => {
    const old = `${prefix}.scale_linear`
    const factor = metadata.number(metadata.has(old) ? old : `${prefix}.scaling.factor`)
    return { rope_type: 'linear', factor }
  },
  yarn: (metadata, prefix) => ({
    rope_type: 'yarn',
    factor: metadata.number(`${prefix}.scaling.factor`),
    original_max_position_embeddings: metadata.integer(`${prefix}.scaling.original_context_length`),
  }),
}

function rotaryScaling(metadata: GgufMetadata, prefix: string) {
  const key = `${prefix}.scaling.type`
  const type = metadata.string(key, metadata.has(`${prefix}.scale_linear`) ? 'linear' : 'none')
  const read = Object.hasOwn(rotaryTypes, type) ? rotaryTypes[type]! : null
  if (!read)
    throw metadata.error(key, `one of ${Object.keys(rotaryTypes).join(', ')}`, type, 'ERR_UNSUPPORTED')
  return read(metadata, prefix)
}

/** LongRoPE's factors are two tensors. */
function longRope(metadata: GgufMetadata, { entries, floats }: GgufTensors) {
  const [short, long] = ['rope_factors_short.weight', 'rope_factors_long.weight'] as const
  if (!entries.has(short) || !entries.has(long)) return null
  return {
    rope_type: 'longrope',
    short_factor: [...floats(short)],
    long_factor: [...floats(long)],
    attention_factor: metadata.number(`${metadata.architecture}.rope.scaling.attn_factor`, 1),
  }
}

/** The fields that all of these have. */
function llamaConfig(metadata: GgufMetadata, tensors: GgufTensors): Config {
  const key = (name: string) => `${metadata.architecture}.${name}`
  const heads = metadata.integer(key('attention.head_count'))
  const width = metadata.integer(key('embedding_length'))
  const headSize = metadata.integer(key('attention.key_length'), Math.floor(width / Math.max(heads, 1)))
  const rotated = metadata.integer(key('rope.dimension_count'), headSize)
  if (metadata.integer(key('attention.value_length'), headSize) !== headSize)
    throw metadata.error(
      key('attention.value_length'),
      `as key_length, ${headSize}`,
      'another',
      'ERR_UNSUPPORTED',
    )
  const experts = metadata.integer(key('expert_count'), 0)
  if (experts > 0) throw metadata.error(key('expert_count'), '0', experts, 'ERR_UNSUPPORTED')
  return {
    model_type: metadata.architecture,
    vocab_size: vocabularySize(metadata, tensors),
    hidden_size: width,
    intermediate_size: metadata.integer(key('feed_forward_length')),
    num_hidden_layers: metadata.integer(key('block_count')),
    num_attention_heads: heads,
    num_key_value_heads: metadata.integer(key('attention.head_count_kv'), heads),
    head_dim: headSize,
    max_position_embeddings: metadata.integer(key('context_length')),
    rms_norm_eps: metadata.number(key('attention.layer_norm_rms_epsilon')),
    rope_theta: metadata.number(key('rope.freq_base'), 10000),
    partial_rotary_factor: headSize > 0 ? rotated / headSize : 1,
    rope_scaling: longRope(metadata, tensors) ?? rotaryScaling(metadata, key('rope')),
    // LLaMA 3.1 and later say with a tensor by how much each frequency is divided.
    rope_frequency_divisors: tensors.entries.has('rope_freqs.weight')
      ? [...tensors.floats('rope_freqs.weight')]
      : null,
    attention_bias: tensors.entries.has('blk.0.attn_q.bias'),
    mlp_bias: tensors.entries.has('blk.0.ffn_up.bias'),
    tie_word_embeddings: !tensors.entries.has('output.weight'),
  }
}

const queryHeads = (metadata: GgufMetadata) =>
  metadata.integer(`${metadata.architecture}.attention.head_count`)
const keyHeads = (metadata: GgufMetadata) =>
  metadata.integer(`${metadata.architecture}.attention.head_count_kv`, queryHeads(metadata))

const llama: Architecture = {
  config: llamaConfig,
  names: { token_embd: 'embed_tokens', output_norm: 'norm', output: 'lm_head' },
  layers: 'layers',
  layerNames: {
    attn_norm: 'input_layernorm',
    attn_q: 'self_attn.q_proj',
    attn_k: 'self_attn.k_proj',
    attn_v: 'self_attn.v_proj',
    attn_output: 'self_attn.o_proj',
    attn_q_norm: 'self_attn.q_norm',
    attn_k_norm: 'self_attn.k_norm',
    ffn_norm: 'post_attention_layernorm',
    ffn_gate: 'mlp.gate_proj',
    ffn_up: 'mlp.up_proj',
    ffn_down: 'mlp.down_proj',
  },
  ignored: ['rope_freqs.weight'],
  paired: { attn_q: queryHeads, attn_k: keyHeads },
}

/** Rows as the models have them. */
const plain: Architecture = { ...llama, paired: {} }

const phi3: Architecture = {
  ...plain,
  config(metadata, tensors) {
    const window = metadata.integer('phi3.attention.sliding_window', 0)
    const original = 'phi3.rope.scaling.original_context_length'
    return {
      ...llamaConfig(metadata, tensors),
      sliding_window: window === 0 ? null : window,
      ...(metadata.has(original) && { original_max_position_embeddings: metadata.integer(original) }),
    }
  },
  layerNames: { ...plain.layerNames, attn_qkv: 'self_attn.qkv_proj', ffn_up: 'mlp.gate_up_proj' },
  ignored: ['rope_factors_short.weight', 'rope_factors_long.weight'],
}

const sandwichNames = {
  ...plain.layerNames,
  post_attention_norm: 'post_attention_layernorm',
  ffn_norm: 'pre_feedforward_layernorm',
  post_ffw_norm: 'post_feedforward_layernorm',
}

/** Only the largest of each Gemma scales scores by the width for each head; files tell it by its layers. */
function gemmaConfig(metadata: GgufMetadata, tensors: GgufTensors, layersOfLargest: number): Config {
  const prefix = metadata.architecture
  const config = llamaConfig(metadata, tensors)
  const { head_dim, hidden_size, num_attention_heads, num_hidden_layers } = config as Record<string, number>
  const isLargest = num_hidden_layers === layersOfLargest
  const cap = (name: string) =>
    metadata.has(`${prefix}.${name}`) ? metadata.number(`${prefix}.${name}`) || null : null
  return {
    ...config,
    query_pre_attn_scalar: isLargest ? hidden_size! / num_attention_heads! : head_dim,
    attn_logit_softcapping: cap('attn_logit_softcapping'),
    final_logit_softcapping: cap('final_logit_softcapping'),
    sliding_window: metadata.integer(`${prefix}.attention.sliding_window`),
  }
}

const gemma2: Architecture = {
  ...plain,
  config: (metadata, tensors) => gemmaConfig(metadata, tensors, 46),
  layerNames: sandwichNames,
}

const gemma3: Architecture = {
  ...plain,
  config: (metadata, tensors) => ({
    ...gemmaConfig(metadata, tensors, 62),
    model_type: 'gemma3_text',
    rope_theta: metadata.number('gemma3.rope.freq_base', 1e6),
    rope_local_base_freq: metadata.number('gemma3.rope.freq_base_swa', 10000),
    sliding_window_pattern: metadata.integer('gemma3.attention.sliding_window_pattern', 6),
  }),
  layerNames: sandwichNames,
}

const olmo2: Architecture = {
  ...plain,
  layerNames: {
    ...plain.layerNames,
    post_attention_norm: 'post_attention_layernorm',
    post_ffw_norm: 'post_feedforward_layernorm',
  },
}

/** By `general.architecture`. Mistral's files say that they are LLaMA's. */
export const llamaArchitectures = {
  gemma: plain,
  gemma2,
  gemma3,
  llama,
  olmo2,
  phi3,
  qwen2: plain,
  qwen3: plain,
  smollm3: llama,
}
