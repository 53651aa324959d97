import type { CheckpointLayout, Step, Tensor } from '../nn/index.js'
import { Attention, activationKinds, MixtureOfExperts, Module, RMSNorm } from '../nn/index.js'
import { integer, limits, oneOf, readFields } from './config.js'
import { maskOf } from './layer-masks.js'
import { attentionOf, Llama } from './llama.js'
import { readLlamaConfig } from './llama-config.js'

type MixtralConfig = ReturnType<typeof readMixtralConfig>

/**
 * Mixtral: a Mistral whose tokens go through two of eight feed-forwards in each layer.
 *
 * Jiang et al. 2024, https://arxiv.org/abs/2401.04088
 */
export class Mixtral extends Llama<MixtralConfig> {
  static override readConfig = readMixtralConfig

  override get checkpoint(): CheckpointLayout {
    const { intermediate_size: F, hidden_size: C } = this.config
    return {
      ...super.checkpoint,
      fused: [
        { tensor: 'w1', parts: { gate_proj: F } },
        { tensor: 'w3', parts: { up_proj: F } },
        { tensor: 'w2', parts: { down_proj: C } },
      ],
    }
  }

  protected override layer() {
    return new MixtralLayer(this.config)
  }
}

class MixtralLayer extends Module<MixtralConfig> {
  input_layernorm = new RMSNorm(this.config.hidden_size, { epsilon: this.config.rms_norm_eps })
  self_attn = new Attention({ ...attentionOf(this.config), mask: this.config.mask })
  post_attention_layernorm = new RMSNorm(this.config.hidden_size, { epsilon: this.config.rms_norm_eps })
  block_sparse_moe = new MixtureOfExperts({
    width: this.config.hidden_size,
    hidden: this.config.intermediate_size,
    count: this.config.num_local_experts,
    chosen: this.config.num_experts_per_tok,
    normalised: true,
    activation: activationKinds[this.config.activation],
  })

  forward(x: Tensor, step: Step): Tensor {
    x = x.add(this.self_attn.forward(this.input_layernorm.forward(x), step))
    return x.add(this.block_sparse_moe.forward(this.post_attention_layernorm.forward(x)))
  }
}

/** Defaults are those of Hugging Face's MixtralConfig. */
function readMixtralConfig(json: Record<string, unknown>) {
  const config = readLlamaConfig(
    { ...json, attention_bias: false, mlp_bias: false },
    {
      intermediate_size: 14336,
      num_key_value_heads: 8,
      max_position_embeddings: 131072,
      rms_norm_eps: 1e-5,
      rope_theta: 1e6,
    },
  )
  const { sliding_window, hidden_act, num_local_experts } = readFields(json, {
    sliding_window: integer(limits.positions, null),
    hidden_act: oneOf(activationKinds, 'silu'),
    num_local_experts: integer(limits.experts, 8),
  })
  const { num_experts_per_tok } = readFields(json, { num_experts_per_tok: integer(num_local_experts, 2) })
  return {
    ...config,
    mask: maskOf(sliding_window),
    activation: hidden_act,
    num_local_experts,
    num_experts_per_tok,
  }
}
