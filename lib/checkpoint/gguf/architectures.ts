import type { TensorEntry } from '../../native/addon.js'
import type { GgufMetadata } from './metadata.js'

/** What a GGUF file has beside its metadata. */
export interface GgufTensors {
  entries: ReadonlyMap<string, TensorEntry>
  /** The numbers of a small tensor of type F32. */
  floats(name: string): Float32Array
}

/** How the files of one `general.architecture` correspond to a family of models. */
interface Architecture {
  /** What config.json would hold. */
  config(metadata: GgufMetadata, tensors: GgufTensors): Record<string, unknown>
  /** Parameters by the tensors' names, without their numbers and endings. */
  names: Record<string, string>
  /** Where the layers are: `blk.3.` is `layers.3.`. */
  layers: string
  layerNames: Record<string, string>
  /** Tensors that no parameter holds. */
  ignored: readonly string[]
  /** Parameters of layers whose rows rotate in pairs of neighbours, with the key of the number of their heads. */
  paired: Record<string, string>
}

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

/** The rows of the embedding, whatever the metadata says of the vocabulary. */
function vocabularySize(metadata: GgufMetadata, { entries }: GgufTensors): number {
  const rows = entries.get('token_embd.weight')?.shape[0]
  return rows ?? metadata.integer(`${metadata.architecture}.vocab_size`)
}

const llama: Architecture = {
  config(metadata, tensors) {
    const heads = metadata.integer('llama.attention.head_count')
    const width = metadata.integer('llama.embedding_length')
    const headSize = metadata.integer('llama.attention.key_length', Math.floor(width / Math.max(heads, 1)))
    const rotated = metadata.integer('llama.rope.dimension_count', headSize)
    if (metadata.integer('llama.attention.value_length', headSize) !== headSize)
      throw metadata.error(
        'llama.attention.value_length',
        `as key_length, ${headSize}`,
        'another',
        'ERR_UNSUPPORTED',
      )
    if (metadata.integer('llama.expert_count', 0) > 0)
      throw metadata.error(
        'llama.expert_count',
        '0',
        metadata.integer('llama.expert_count'),
        'ERR_UNSUPPORTED',
      )
    return {
      model_type: 'llama',
      vocab_size: vocabularySize(metadata, tensors),
      hidden_size: width,
      intermediate_size: metadata.integer('llama.feed_forward_length'),
      num_hidden_layers: metadata.integer('llama.block_count'),
      num_attention_heads: heads,
      num_key_value_heads: metadata.integer('llama.attention.head_count_kv', heads),
      head_dim: headSize,
      max_position_embeddings: metadata.integer('llama.context_length'),
      rms_norm_eps: metadata.number('llama.attention.layer_norm_rms_epsilon'),
      rope_theta: metadata.number('llama.rope.freq_base', 10000),
      partial_rotary_factor: headSize > 0 ? rotated / headSize : 1,
      rope_scaling: rotaryScaling(metadata, 'llama.rope'),
      // LLaMA 3.1 and later say with a tensor by how much each frequency is divided.
      rope_frequency_divisors: tensors.entries.has('rope_freqs.weight')
        ? [...tensors.floats('rope_freqs.weight')]
        : null,
      attention_bias: tensors.entries.has('blk.0.attn_q.bias'),
      mlp_bias: tensors.entries.has('blk.0.ffn_up.bias'),
      tie_word_embeddings: !tensors.entries.has('output.weight'),
    }
  },
  names: { token_embd: 'embed_tokens', output_norm: 'norm', output: 'lm_head' },
  layers: 'layers',
  layerNames: {
    attn_norm: 'input_layernorm',
    attn_q: 'self_attn.q_proj',
    attn_k: 'self_attn.k_proj',
    attn_v: 'self_attn.v_proj',
    attn_output: 'self_attn.o_proj',
    ffn_norm: 'post_attention_layernorm',
    ffn_gate: 'mlp.gate_proj',
    ffn_up: 'mlp.up_proj',
    ffn_down: 'mlp.down_proj',
  },
  ignored: ['rope_freqs.weight'],
  paired: { attn_q: 'llama.attention.head_count', attn_k: 'llama.attention.head_count_kv' },
}

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

/** A row a `general.architecture`. */
const architectures: Record<string, Architecture> = { gpt2, llama }

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
  const heads = metadata.integer(paired[stem]!, metadata.integer('llama.attention.head_count'))
  const rows = entry.shape[0]!
  if (heads === 0 || rows % (2 * heads) !== 0)
    throw metadata.error(entry.name, `of an even number of rows for each of ${heads} heads`, rows)
  return { parameter, pairedRows: rows / heads }
}
