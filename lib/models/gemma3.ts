import type { CheckpointLayout } from '../nn/index.js'
import { rotary } from '../nn/index.js'
import { integer, limits, malformed, number, orNull, readFields, unsupported } from './config.js'
import { Gemma, readGemmaFields } from './gemma.js'
import { Gemma2, SandwichLayer } from './gemma2.js'
import { readLayerMasks } from './layer-masks.js'
import { readRopeParameters } from './rope-parameters.js'

type Json = Record<string, unknown>
type Gemma3Config = ReturnType<typeof readGemma3Config>

/**
 * Gemma 3, its language model: a Gemma 2 that normalises each head of queries and keys instead of bounding scores. Five
 * of six layers see a window, and rotate by a base of their own. Of checkpoints that also see images, the text's part.
 *
 * Gemma Team 2025, https://arxiv.org/abs/2503.19786
 */
export class Gemma3 extends Gemma2<Gemma3Config> {
  static override readConfig = readGemma3Config

  static override checkpoint: CheckpointLayout = {
    ...Gemma.checkpoint,
    prefixes: ['', 'model.', 'language_model.model.', 'model.language_model.', 'language_model.'],
    ignored: [
      '(^|\\.)lm_head\\.weight$',
      '^(model\\.)?(vision_tower|multi_modal_projector)\\.',
      ...Gemma.checkpoint.ignored,
    ],
  }

  protected override layer(index: number) {
    const { masks, query_pre_attn_scalar, rms_norm_eps, rope, localRope } = this.config
    const mask = masks[index]!
    return new SandwichLayer({
      ...this.config,
      attention: {
        mask,
        positions: rotary(mask.window > 0 ? localRope : rope),
        scale: query_pre_attn_scalar ** -0.5,
        queryKeyNorm: { over: 'head', epsilon: rms_norm_eps },
      },
    })
  }
}

/** Defaults are those of Hugging Face's Gemma3TextConfig. */
function readGemma3Config(whole: Json) {
  const json = textConfig(whole)
  if (json.use_bidirectional_attention === true)
    throw unsupported('use_bidirectional_attention', 'false', true)
  const { full, local } = ropeParameters(json)
  const config = readGemmaFields(full, {
    vocab_size: 262208,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    max_position_embeddings: 131072,
    rope_theta: 1e6,
  })
  const { num_hidden_layers: layers, max_position_embeddings: maxPositions, head_dim: headSize } = config
  const fields = { query_pre_attn_scalar: number(256), sliding_window_pattern: integer(limits.layers, 6) }
  const { query_pre_attn_scalar, sliding_window_pattern: pattern } = readFields(json, fields)
  const window = orNull(json, 'sliding_window', integer(limits.positions, 4096))
  return {
    ...config,
    query_pre_attn_scalar,
    attn_logit_softcapping: null,
    ...readFields(json, { final_logit_softcapping: number(null) }),
    masks: readLayerMasks(json, layers, window, (layer) => (layer + 1) % pattern !== 0),
    localRope: readRopeParameters(local, { maxPositions, headSize }),
  }
}

/** Where a model also sees images, its text's configuration is a part of the whole. */
function textConfig(json: Json): Json {
  const { text_config: text = json } = json
  if (typeof text !== 'object' || text === null || Array.isArray(text))
    throw malformed('text_config', 'an object', text)
  return { tie_word_embeddings: json.tie_word_embeddings, ...text }
}

/** What layers that see everything rotate by, and those that see a window: transformers 5 has both in one field. */
function ropeParameters(json: Json): { full: Json; local: Json } {
  const { rope_local_base_freq } = readFields(json, { rope_local_base_freq: number(10000, 2) })
  const both = json.rope_parameters as Json | null | undefined
  if (both?.full_attention === undefined) return { full: json, local: { rope_theta: rope_local_base_freq } }
  return {
    full: { ...json, rope_parameters: both.full_attention },
    local: { rope_theta: rope_local_base_freq, rope_parameters: both.sliding_attention },
  }
}
