import { activations } from '../nn/index.js'
import { boolean, checkDivides, checkHeadSize, integer, limits, number, oneOf, readFields } from './config.js'
import { readRopeParameters } from './rope-parameters.js'

const fields = {
  vocab_size: integer(limits.vocabulary, 32000),
  hidden_size: integer(limits.width, 4096),
  intermediate_size: integer(limits.width, 11008),
  num_hidden_layers: integer(limits.layers, 32),
  num_attention_heads: integer(limits.heads, 32),
  num_key_value_heads: integer(limits.heads, null),
  head_dim: integer(limits.width, null),
  max_position_embeddings: integer(limits.positions, 2048),
  hidden_act: oneOf(activations, 'silu'),
  rms_norm_eps: number(1e-6),
  attention_bias: boolean(false),
  mlp_bias: boolean(false),
  tie_word_embeddings: boolean(false),
}

/**
 * Reads a LLaMA's config.json; defaults are those of Hugging Face's LlamaConfig.
 *
 * @throws {CheckpointError} naming the field that is malformed or asks for what is not supported
 */
export function readLlamaConfig(json: Record<string, unknown>) {
  const config = readFields(json, fields)
  if (config.head_dim === null) checkDivides(config, 'num_attention_heads', 'hidden_size')
  const sizes = {
    head_dim: config.head_dim ?? config.hidden_size / config.num_attention_heads,
    num_key_value_heads: config.num_key_value_heads ?? config.num_attention_heads,
  }
  checkHeadSize(sizes.head_dim, 'head_dim')
  checkDivides({ ...config, ...sizes }, 'num_key_value_heads', 'num_attention_heads')
  const rope = readRopeParameters(json, config.max_position_embeddings, sizes.head_dim)
  return { ...config, ...sizes, rope }
}

export type LlamaConfig = ReturnType<typeof readLlamaConfig>
