import type { Step, Tensor } from '../nn/index.js'
import { Attention, Module, RMSNorm } from '../nn/index.js'
import { attentionOf, feedForwardOf, Llama } from './llama.js'
import type { LlamaConfig } from './llama-config.js'
import { readLlamaConfig } from './llama-config.js'

/**
 * OLMo 2: norms after each branch and none before, and norms over whole rows of queries and of keys.
 *
 * OLMo Team 2024, https://arxiv.org/abs/2501.00656
 */
export class Olmo2 extends Llama {
  static override readConfig = readOlmo2Config

  protected override layer() {
    return new Olmo2Layer(this.config)
  }
}

class Olmo2Layer extends Module<LlamaConfig> {
  self_attn = new Attention({
    ...attentionOf(this.config),
    queryKeyNorm: { over: 'row', epsilon: this.config.rms_norm_eps },
  })
  post_attention_layernorm = new RMSNorm(this.config.hidden_size, { epsilon: this.config.rms_norm_eps })
  mlp = feedForwardOf(this.config)
  post_feedforward_layernorm = new RMSNorm(this.config.hidden_size, { epsilon: this.config.rms_norm_eps })

  forward(x: Tensor, step: Step): Tensor {
    x = x.add(this.post_attention_layernorm.forward(this.self_attn.forward(x, step)))
    return x.add(this.post_feedforward_layernorm.forward(this.mlp.forward(x)))
  }
}

/** Defaults are those of Hugging Face's Olmo2Config. */
function readOlmo2Config(json: Record<string, unknown>) {
  return readLlamaConfig({ ...json, mlp_bias: false }, { vocab_size: 50304, rms_norm_eps: 1e-5 })
}
