import { activations } from '../nn/index.js'
import {
  boolean,
  checkDivides,
  checkHeadSize,
  integer,
  limits,
  malformed,
  number,
  oneOf,
  readFields,
} from './config.js'

type AttentionType = 'global' | 'local'

const fields = {
  vocab_size: integer(limits.vocabulary, 50257),
  max_position_embeddings: integer(limits.positions, 2048),
  hidden_size: integer(limits.width, 2048),
  num_layers: integer(limits.layers, 24),
  num_heads: integer(limits.heads, 16),
  intermediate_size: integer(limits.width, null),
  attention_types: attentionTypes,
  window_size: integer(limits.positions, 256),
  activation_function: oneOf(activations, 'gelu_new'),
  layer_norm_epsilon: number(1e-5),
  tie_word_embeddings: boolean(true),
}

/**
 * Reads a GPT-Neo's config.json; defaults are those of Hugging Face's GPTNeoConfig.
 *
 * @throws {CheckpointError} naming the field that is malformed or asks for what is not supported
 */
export function readGPTNeoConfig(json: Record<string, unknown>) {
  const config = readFields(json, fields)
  const { length } = config.attention_types
  if (length !== config.num_layers)
    throw malformed('attention_types', `for as many layers as num_layers (${config.num_layers})`, length)
  checkDivides(config, 'num_heads', 'hidden_size')
  checkHeadSize(config.hidden_size / config.num_heads, 'hidden_size')
  return config
}

/** `[[["global", "local"], 12]]`, twelve times the two -> the type of each layer. */
function attentionTypes(value: unknown = [[['global', 'local'], 12]], name: string): AttentionType[] {
  const expected = 'a list such as [[["global", "local"], 12]]'
  if (!Array.isArray(value)) throw malformed(name, expected, value)
  const readType = oneOf<AttentionType>({ global: true, local: true })
  const readCount = integer(limits.layers)
  const layers: AttentionType[] = []
  for (const group of value) {
    if (!Array.isArray(group?.[0]) || group[0].length === 0) throw malformed(name, expected, group)
    const types = group[0].map((type: unknown) => readType(type, name))
    const count = readCount(group[1], name)
    if (layers.length + count * types.length > limits.layers)
      throw malformed(name, `for at most ${limits.layers} layers`, layers.length + count * types.length)
    for (let i = 0; i < count; i++) layers.push(...types)
  }
  return layers
}

export type GPTNeoConfig = ReturnType<typeof readGPTNeoConfig>
