import { boolean, count, integer, limits, orNull, readFields } from './config.js'
import { readLayerMasks } from './layer-masks.js'
import { Llama, LlamaLayer } from './llama.js'
import { readLlamaConfig } from './llama-config.js'

type Qwen2Config = ReturnType<typeof readQwen2Config>

/**
 * Qwen2 and 2.5: a LLaMA with biases on queries, keys and values, whose later layers may see a window.
 *
 * Yang et al. 2024, https://arxiv.org/abs/2407.10671
 */
export class Qwen2 extends Llama<Qwen2Config> {
  static override readConfig = readQwen2Config

  protected override layer(index: number) {
    const mask = this.config.masks[index]
    return new LlamaLayer({ ...this.config, attention: { bias: true, outputBias: false, mask } })
  }
}

/** Sizes of Hugging Face's Qwen2Config, which Qwen3's are, too. */
export const qwenDefaults = {
  vocab_size: 151936,
  intermediate_size: 22016,
  num_key_value_heads: 32,
  max_position_embeddings: 32768,
}

/** Defaults are those of Hugging Face's Qwen2Config. */
function readQwen2Config(json: Record<string, unknown>) {
  const config = readLlamaConfig({ ...json, mlp_bias: false }, qwenDefaults)
  return { ...config, masks: readQwenMasks(json, config.num_hidden_layers) }
}

/** Layers from `max_window_layers` on see a window, where `use_sliding_window` says that any does. */
export function readQwenMasks(json: Record<string, unknown>, layers: number) {
  const fields = { use_sliding_window: boolean(false), max_window_layers: count(limits.layers, 28) }
  const { use_sliding_window, max_window_layers } = readFields(json, fields)
  const window = orNull(json, 'sliding_window', integer(limits.positions, 4096))
  return readLayerMasks(json, layers, use_sliding_window ? window : null, (i) => i >= max_window_layers)
}
