import type { FeedForwardKind, HeadKind, Mask, NormKind, Positions, Residual } from '../nn/index.js'
import {
  alibi,
  geglu,
  gelu,
  geluTanh,
  LayerNorm,
  learned,
  mlp,
  noPositions,
  postNorm,
  preNorm,
  RMSNorm,
  relu,
  rotary,
  sinusoidal,
  slidingWindow,
  swiglu,
  tiedHead,
  untiedHead,
} from '../nn/index.js'
import { maxSinusoidalElements } from '../nn/positions.js'
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
import { readRopeParameters } from './rope-parameters.js'

/** The choices that make a decoder. */
export interface DecoderConfig {
  vocabSize: number
  /** Positions that a sequence may have. */
  maxPositions: number
  /** Channels of the residual stream, C. */
  width: number
  layers: number
  /** Query heads, H. */
  heads: number
  /** Key/value heads: H by default (multi-head), 1 for multi-query, a divisor of H for grouped-query attention. */
  kvHeads?: number
  /** Channels of a head; width / heads by default. */
  headSize?: number
  /** Channels within the feed-forward part; 4 * width by default. */
  hidden?: number
  /** `sinusoidal(n, width)`, `learned(n, width)`, `rotary()`, `alibi()` or `noPositions()`. */
  positions: Positions<unknown>
  /** `LayerNorm` or `RMSNorm`. */
  norm: NormKind
  /** Its epsilon; the norm's own by default. */
  epsilon?: number
  /** `preNorm` or `postNorm`. */
  residual: Residual
  /** `mlp(relu)`, `mlp(gelu)`, `swiglu` or `geglu`. */
  feedForward: FeedForwardKind
  /** `tiedHead` or `untiedHead`. */
  head: HeadKind
  /** `causal` by default, or `slidingWindow(n)`. */
  mask?: Mask
  /** Whether attention and feed-forward have biases; yes by default. */
  bias?: boolean
  /** Factor on the embeddings, such as the first transformer's sqrt(width); 1 by default. */
  embeddingScale?: number
}

type Json = Record<string, unknown>

interface Sizes {
  maxPositions: number
  width: number
  headSize: number
}

/** What each word of a config.json stands for. */
const positions: Record<string, (sizes: Sizes, json: Json) => Positions<unknown>> = {
  sinusoidal: ({ maxPositions, width }) => sinusoidal(maxPositions, width),
  learned: ({ maxPositions, width }) => learned(maxPositions, width),
  rotary: ({ maxPositions, headSize }, json) => rotary(readRopeParameters(json, { maxPositions, headSize })),
  alibi,
  none: noPositions,
}
const norms = { layer_norm: LayerNorm, rms_norm: RMSNorm }
const residuals = { pre_norm: preNorm, post_norm: postNorm }
const feedForwards = { relu: mlp(relu), gelu: mlp(gelu), gelu_tanh: mlp(geluTanh), swiglu, geglu }

const fields = {
  vocab_size: integer(limits.vocabulary),
  max_position_embeddings: integer(limits.positions),
  hidden_size: integer(limits.width),
  num_hidden_layers: integer(limits.layers),
  num_attention_heads: integer(limits.heads),
  num_key_value_heads: integer(limits.heads, null),
  head_dim: integer(limits.width, null),
  intermediate_size: integer(limits.width, null),
  positions: oneOf(positions),
  norm: oneOf(norms),
  norm_epsilon: number(null),
  residual: oneOf(residuals, 'pre_norm'),
  feed_forward: oneOf(feedForwards),
  sliding_window: integer(limits.positions, null),
  embedding_scale: number(null),
  bias: boolean(true),
  tie_word_embeddings: boolean(true),
}

/**
 * Reads the config.json of a decoder: the sizes under the names that LLaMA's has, and a word for each choice.
 *
 *     { "model_type": "kvasir_decoder", "vocab_size": 256, "max_position_embeddings": 512, "hidden_size": 128,
 *       "num_hidden_layers": 4, "num_attention_heads": 4, "positions": "rotary", "norm": "rms_norm",
 *       "feed_forward": "swiglu" }
 *
 * @throws {CheckpointError} naming the field that is malformed or asks for what is not supported
 */
export function readDecoderConfig(json: Json): DecoderConfig {
  const config = readFields(json, fields)
  const { hidden_size: width, num_attention_heads: heads, max_position_embeddings: maxPositions } = config
  if (config.head_dim === null) checkDivides(config, 'num_attention_heads', 'hidden_size')
  if (config.num_key_value_heads !== null) checkDivides(config, 'num_key_value_heads', 'num_attention_heads')
  const headSize = config.head_dim ?? width / heads
  checkHeadSize(headSize, 'head_dim')
  if (config.positions === 'sinusoidal' && maxPositions * width > maxSinusoidalElements)
    throw malformed(
      'max_position_embeddings',
      'at most 2^26 / hidden_size with sinusoidal positions',
      maxPositions,
    )
  return {
    vocabSize: config.vocab_size,
    maxPositions,
    width,
    layers: config.num_hidden_layers,
    heads,
    kvHeads: config.num_key_value_heads ?? heads,
    headSize,
    hidden: config.intermediate_size ?? 4 * width,
    positions: positions[config.positions]!({ maxPositions, width, headSize }, json),
    norm: norms[config.norm],
    epsilon: config.norm_epsilon ?? undefined,
    residual: residuals[config.residual],
    feedForward: feedForwards[config.feed_forward],
    head: config.tie_word_embeddings ? tiedHead : untiedHead,
    mask: config.sliding_window === null ? undefined : slidingWindow(config.sliding_window),
    bias: config.bias,
    embeddingScale: config.embedding_scale ?? undefined,
  }
}
