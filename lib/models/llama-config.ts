import { activations } from '../nn/index.js'
import {
  boolean,
  checkDivides,
  checkHeadSize,
  integer,
  limits,
  number,
  oneOf,
  orNull,
  readFields,
} from './config.js'
import { readRopeParameters } from './rope-parameters.js'

/** What a config.json of a family may leave out; `null` where it follows from other fields. */
export interface LlamaDefaults {
  vocab_size: number
  hidden_size: number
  intermediate_size: number
  num_hidden_layers: number
  num_attention_heads: number
  num_key_value_heads: number | null
  head_dim: number | null
  max_position_embeddings: number
  rms_norm_eps: number
  rope_theta: number
  tie_word_embeddings: boolean
  /** As in ModelOptions. */
  contextLength?: number
}

/** Those of Hugging Face's LlamaConfig. */
const llama: LlamaDefaults = {
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: null,
  head_dim: null,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  tie_word_embeddings: false,
}

/**
 * Reads the config.json of a LLaMA, or of a family that has its fields.
 *
 * @param own the defaults that differ from LLaMA's
 * @throws {CheckpointError} naming the field that is malformed or asks for what is not supported
 */
export function readLlamaConfig(json: Record<string, unknown>, own: Partial<LlamaDefaults> = {}) {
  const defaults = { ...llama, ...own }
  const config = readFields(json, {
    vocab_size: integer(limits.vocabulary, defaults.vocab_size),
    hidden_size: integer(limits.width, defaults.hidden_size),
    intermediate_size: integer(limits.width, defaults.intermediate_size),
    num_hidden_layers: integer(limits.layers, defaults.num_hidden_layers),
    num_attention_heads: integer(limits.heads, defaults.num_attention_heads),
    max_position_embeddings: integer(limits.positions, defaults.max_position_embeddings),
    hidden_act: oneOf(activations, 'silu'),
    rms_norm_eps: number(defaults.rms_norm_eps),
    attention_bias: boolean(false),
    mlp_bias: boolean(false),
    tie_word_embeddings: boolean(defaults.tie_word_embeddings),
  })
  const kvHeads = orNull(json, 'num_key_value_heads', integer(limits.heads, defaults.num_key_value_heads))
  const headSize = orNull(json, 'head_dim', integer(limits.width, defaults.head_dim))
  if (headSize === null) checkDivides(config, 'num_attention_heads', 'hidden_size')
  const sizes = {
    head_dim: headSize ?? config.hidden_size / config.num_attention_heads,
    num_key_value_heads: kvHeads ?? config.num_attention_heads,
  }
  checkHeadSize(sizes.head_dim, 'head_dim')
  checkDivides({ ...config, ...sizes }, 'num_key_value_heads', 'num_attention_heads')
  const rope = readRopeParameters(json, {
    maxPositions: config.max_position_embeddings,
    headSize: sizes.head_dim,
    theta: defaults.rope_theta,
    contextLength: defaults.contextLength,
  })
  return { ...config, ...sizes, rope }
}

export type LlamaConfig = ReturnType<typeof readLlamaConfig>
