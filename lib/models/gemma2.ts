import type { Step, Tensor } from '../nn/index.js'
import { Attention, Module, RMSNorm, softcap } from '../nn/index.js'
import { integer, limits, number, orNull, readFields } from './config.js'
import { Gemma, readGemmaFields } from './gemma.js'
import { readLayerMasks } from './layer-masks.js'
import type { LlamaLayerConfig } from './llama.js'
import { attentionOf, feedForwardOf } from './llama.js'

export type Gemma2Config = ReturnType<typeof readGemma2Config>

/**
 * Gemma 2: norms before and after each branch, windows in every other layer, bounded scores and logits.
 *
 * Gemma Team 2024, https://arxiv.org/abs/2408.00118
 */
export class Gemma2<Config extends Gemma2Config = Gemma2Config> extends Gemma<Config> {
  static override readConfig: (json: Record<string, unknown>) => Gemma2Config = readGemma2Config

  protected override layer(index: number) {
    const { masks, query_pre_attn_scalar, attn_logit_softcapping } = this.config
    return new SandwichLayer({
      ...this.config,
      attention: {
        mask: masks[index],
        scale: query_pre_attn_scalar ** -0.5,
        softcap: attn_logit_softcapping ?? undefined,
      },
    })
  }

  override forward(step: Step): Tensor {
    const logits = super.forward(step) // (R,V)
    const { final_logit_softcapping: cap } = this.config
    return cap === null ? logits : softcap(logits, cap)
  }
}

/** Norms on both sides of each branch. */
export class SandwichLayer extends Module<LlamaLayerConfig> {
  input_layernorm = normOf(this.config)
  self_attn = new Attention(attentionOf(this.config))
  post_attention_layernorm = normOf(this.config)
  pre_feedforward_layernorm = normOf(this.config)
  mlp = feedForwardOf(this.config)
  post_feedforward_layernorm = normOf(this.config)

  forward(x: Tensor, step: Step): Tensor {
    const attended = this.self_attn.forward(this.input_layernorm.forward(x), step)
    x = x.add(this.post_attention_layernorm.forward(attended))
    const fed = this.mlp.forward(this.pre_feedforward_layernorm.forward(x))
    return x.add(this.post_feedforward_layernorm.forward(fed))
  }
}

function normOf({ hidden_size, rms_norm_eps: epsilon }: LlamaLayerConfig): RMSNorm {
  return new RMSNorm(hidden_size, { epsilon })
}

/** Defaults are those of Hugging Face's Gemma2Config; where there are no `layer_types`, the first of two layers slides. */
function readGemma2Config(json: Record<string, unknown>) {
  const config = readGemmaFields(json, {
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: 4,
  })
  const window = orNull(json, 'sliding_window', integer(limits.positions, 4096))
  return {
    ...config,
    ...readFields(json, { query_pre_attn_scalar: number(256) }),
    attn_logit_softcapping: orNull(json, 'attn_logit_softcapping', number(50)),
    final_logit_softcapping: orNull(json, 'final_logit_softcapping', number(30)),
    masks: readLayerMasks(json, config.num_hidden_layers, window, (layer) => layer % 2 === 0),
  }
}
