import { integer, limits, orNull } from './config.js'
import { maskOf } from './layer-masks.js'
import { Llama, LlamaLayer } from './llama.js'
import { readLlamaConfig } from './llama-config.js'

type MistralConfig = ReturnType<typeof readMistralConfig>

/** Mistral: a LLaMA whose layers see a window of positions. Jiang et al. 2023, https://arxiv.org/abs/2310.06825 */
export class Mistral extends Llama<MistralConfig> {
  static override readConfig = readMistralConfig

  protected override layer() {
    return new LlamaLayer({ ...this.config, attention: { mask: this.config.mask } })
  }
}

/** Defaults are those of Hugging Face's MistralConfig. */
function readMistralConfig(json: Record<string, unknown>) {
  const defaults = {
    intermediate_size: 14336,
    num_key_value_heads: 8,
    max_position_embeddings: 131072,
  }
  return {
    ...readLlamaConfig({ ...json, attention_bias: false, mlp_bias: false }, defaults),
    mask: maskOf(orNull(json, 'sliding_window', integer(limits.positions, 4096))),
  }
}
