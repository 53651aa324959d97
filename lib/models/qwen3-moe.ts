import { activationKinds, MixtureOfExperts } from '../nn/index.js'
import { boolean, integer, limits, malformed, oneOf, orNull, readFields } from './config.js'
import { maskOf } from './layer-masks.js'
import { Llama, LlamaLayer } from './llama.js'
import { readLlamaConfig } from './llama-config.js'

type Qwen3MoeConfig = ReturnType<typeof readQwen3MoeConfig>

/**
 * Qwen3's mixtures of experts: a Qwen3 whose tokens go through eight of 128 feed-forwards in each layer, or in some.
 *
 * Yang et al. 2025, https://arxiv.org/abs/2505.09388
 */
export class Qwen3Moe extends Llama<Qwen3MoeConfig> {
  static override readConfig = readQwen3MoeConfig

  protected override layer(index: number) {
    const { config } = this
    return new LlamaLayer({
      ...config,
      attention: { mask: config.mask, queryKeyNorm: { over: 'head', epsilon: config.rms_norm_eps } },
      feedForward: config.isSparse[index] ? this.mixture() : undefined,
    })
  }

  private mixture() {
    return new MixtureOfExperts({
      width: this.config.hidden_size,
      hidden: this.config.moe_intermediate_size,
      count: this.config.num_experts,
      chosen: this.config.num_experts_per_tok,
      normalised: this.config.norm_topk_prob,
      activation: activationKinds[this.config.activation],
    })
  }
}

/** Defaults are those of Hugging Face's Qwen3MoeConfig. */
function readQwen3MoeConfig(json: Record<string, unknown>) {
  const config = readLlamaConfig(
    { ...json, mlp_bias: false },
    {
      vocab_size: 151936,
      hidden_size: 2048,
      intermediate_size: 6144,
      num_hidden_layers: 24,
      num_key_value_heads: 4,
      max_position_embeddings: 32768,
    },
  )
  const { hidden_act: activation, ...fields } = readFields(json, {
    hidden_act: oneOf(activationKinds, 'silu'),
    moe_intermediate_size: integer(limits.width, 768),
    num_experts: integer(limits.experts, 128),
    norm_topk_prob: boolean(false),
    use_sliding_window: boolean(false),
    decoder_sparse_step: integer(limits.layers, 1),
  })
  const { num_experts_per_tok } = readFields(json, { num_experts_per_tok: integer(fields.num_experts, 8) })
  const window = orNull(json, 'sliding_window', integer(limits.positions, 4096))
  const mask = maskOf(fields.use_sliding_window ? window : null)
  const dense = readLayerList(json, 'mlp_only_layers')
  const isSparse = Array.from(
    { length: config.num_hidden_layers },
    (_, i) => !dense.includes(i) && (i + 1) % fields.decoder_sparse_step === 0,
  )
  return { ...config, ...fields, activation, num_experts_per_tok, mask, isSparse }
}

function readLayerList(json: Record<string, unknown>, name: string): number[] {
  const list = json[name] ?? []
  if (Array.isArray(list) && list.every((layer) => Number.isInteger(layer))) return list
  throw malformed(name, "a list of layers' indices", list)
}
