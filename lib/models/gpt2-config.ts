import { activations } from '../nn/index.js'
import { boolean, checkDivides, checkHeadSize, integer, limits, number, oneOf, readFields } from './config.js'

const fields = {
  vocab_size: integer(limits.vocabulary, 50257),
  n_positions: integer(limits.positions, 1024),
  n_embd: integer(limits.width, 768),
  n_layer: integer(limits.layers, 12),
  n_head: integer(limits.heads, 12),
  n_inner: integer(limits.width, null),
  activation_function: oneOf(activations, 'gelu_new'),
  layer_norm_epsilon: number(1e-5),
  scale_attn_weights: boolean(true),
  scale_attn_by_inverse_layer_idx: boolean(false),
  tie_word_embeddings: boolean(true),
}

/**
 * Reads a GPT-2's config.json; defaults are those of Hugging Face's GPT2Config.
 *
 * @throws {CheckpointError} naming the field that is malformed or asks for what is not supported
 */
export function readGPT2Config(json: Record<string, unknown>) {
  const config = readFields(json, fields)
  checkDivides(config, 'n_head', 'n_embd')
  checkHeadSize(config.n_embd / config.n_head, 'n_embd')
  return config
}

export type GPT2Config = ReturnType<typeof readGPT2Config>
