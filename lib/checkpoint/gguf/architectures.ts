import type { TensorEntry } from '../../native/addon.js'
import type { Architecture } from './architecture.js'
import { vocabularySize } from './architecture.js'
import { llamaArchitectures } from './llama-architectures.js'
import type { GgufMetadata } from './metadata.js'

const gpt2: Architecture = {
  config: (metadata, tensors) => ({
    model_type: 'gpt2',
    vocab_size: vocabularySize(metadata, tensors),
    n_positions: metadata.integer('gpt2.context_length'),
    n_embd: metadata.integer('gpt2.embedding_length'),
    n_layer: metadata.integer('gpt2.block_count'),
    n_head: metadata.integer('gpt2.attention.head_count'),
    n_inner: metadata.integer('gpt2.feed_forward_length'),
    layer_norm_epsilon: metadata.number('gpt2.attention.layer_norm_epsilon'),
    tie_word_embeddings: !tensors.entries.has('output.weight'),
  }),
  names: { token_embd: 'wte', position_embd: 'wpe', output_norm: 'ln_f', output: 'lm_head' },
  layers: 'h',
  layerNames: {
    attn_norm: 'ln_1',
    attn_qkv: 'attn.c_attn',
    attn_output: 'attn.c_proj',
    ffn_norm: 'ln_2',
    ffn_up: 'mlp.c_fc',
    ffn_down: 'mlp.c_proj',
  },
  ignored: [],
  paired: {},
}

/** What BLOOM and GPT-NeoX have alike. */
const mergedHeads = {
  attn_norm: 'input_layernorm',
  ffn_norm: 'post_attention_layernorm',
  ffn_up: 'mlp.dense_h_to_4h',
  ffn_down: 'mlp.dense_4h_to_h',
}

const bloom: Architecture = {
  config: (metadata, tensors) => ({
    model_type: 'bloom',
    vocab_size: vocabularySize(metadata, tensors),
    hidden_size: metadata.integer('bloom.embedding_length'),
    n_layer: metadata.integer('bloom.block_count'),
    n_head: metadata.integer('bloom.attention.head_count'),
    seq_length: metadata.integer('bloom.context_length'),
    layer_norm_epsilon: metadata.number('bloom.attention.layer_norm_epsilon'),
    tie_word_embeddings: !tensors.entries.has('output.weight'),
  }),
  names: {
    token_embd: 'word_embeddings',
    token_embd_norm: 'word_embeddings_layernorm',
    output_norm: 'ln_f',
    output: 'lm_head',
  },
  layers: 'h',
  layerNames: {
    ...mergedHeads,
    attn_qkv: 'self_attention.query_key_value',
    attn_output: 'self_attention.dense',
  },
  ignored: [],
  paired: {},
}

const gptneox: Architecture = {
  config(metadata, tensors) {
    const [heads, width] = [
      metadata.integer('gptneox.attention.head_count'),
      metadata.integer('gptneox.embedding_length'),
    ]
    return {
      model_type: 'gpt_neox',
      vocab_size: vocabularySize(metadata, tensors),
      hidden_size: width,
      num_hidden_layers: metadata.integer('gptneox.block_count'),
      num_attention_heads: heads,
      intermediate_size: metadata.integer('gptneox.feed_forward_length'),
      rotary_pct: metadata.integer('gptneox.rope.dimension_count') / Math.floor(width / Math.max(heads, 1)),
      rotary_emb_base: metadata.number('gptneox.rope.freq_base', 10000),
      max_position_embeddings: metadata.integer('gptneox.context_length'),
      layer_norm_eps: metadata.number('gptneox.attention.layer_norm_epsilon'),
      use_parallel_residual: metadata.boolean('gptneox.use_parallel_residual', true),
      tie_word_embeddings: !tensors.entries.has('output.weight'),
    }
  },
  names: { token_embd: 'embed_in', output_norm: 'final_layer_norm', output: 'embed_out' },
  layers: 'layers',
  layerNames: {
    ...mergedHeads,
    attn_qkv: 'attention.query_key_value',
    attn_output: 'attention.dense',
  },
  ignored: [],
  paired: {},
}

/** A row a `general.architecture`. */
const architectures: Record<string, Architecture> = { bloom, gpt2, gptneox, ...llamaArchitectures }

/** @throws {CheckpointError} for an architecture that no family here has */
export function architectureOf(metadata: GgufMetadata): Architecture {
  const { architecture } = metadata
  if (Object.hasOwn(architectures, architecture)) return architectures[architecture]!
  const known = `one of ${Object.keys(architectures).join(', ')}`
  throw metadata.error('general.architecture', known, architecture, 'ERR_UNSUPPORTED')
}

/** A tensor's parameter, and the rows of a head where those rotate in pairs. */
export interface NamedTensor {
  parameter: string
  pairedRows?: number
}

/** Null for a tensor that no parameter holds. A name that is not known stays as it is. */
export function parameterOf(
  entry: TensorEntry,
  architecture: Architecture,
  metadata: GgufMetadata,
): NamedTensor | null {
  const { names, layers, layerNames, ignored, paired } = architecture
  if (ignored.includes(entry.name)) return null
  const parts = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(entry.name)
  const [, layer, stem = '', ending] = parts ?? []
  const known = layer === undefined ? names : layerNames
  if (!Object.hasOwn(known, stem)) return { parameter: entry.name }
  if (layer === undefined) return { parameter: `${names[stem]}.${ending}` }
  const parameter = `${layers}.${layer}.${layerNames[stem]}.${ending}`
  if (!Object.hasOwn(paired, stem)) return { parameter }
  const heads = paired[stem]!(metadata)
  const rows = entry.shape[0]!
  if (heads === 0 || rows % (2 * heads) !== 0)
    throw metadata.error(entry.name, `of an even number of rows for each of ${heads} heads`, rows)
  return { parameter, pairedRows: rows / heads }
}
