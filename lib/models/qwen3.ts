import { Llama, LlamaLayer } from './llama.js'
import { readLlamaConfig } from './llama-config.js'
import { qwenDefaults, readQwenMasks } from './qwen2.js'

type Qwen3Config = ReturnType<typeof readQwen3Config>

/**
 * Qwen3: a LLaMA that normalises each head of queries and keys, whose later layers may see a window.
 *
 * Yang et al. 2025, https://arxiv.org/abs/2505.09388
 */
export class Qwen3 extends Llama<Qwen3Config> {
  static override readConfig = readQwen3Config

  protected override layer(index: number) {
    const queryKeyNorm = { over: 'head', epsilon: this.config.rms_norm_eps } as const
    return new LlamaLayer({ ...this.config, attention: { queryKeyNorm, mask: this.config.masks[index] } })
  }
}

/** Defaults are those of Hugging Face's Qwen3Config. */
function readQwen3Config(json: Record<string, unknown>) {
  const config = readLlamaConfig({ ...json, mlp_bias: false }, { ...qwenDefaults, head_dim: 128 })
  return { ...config, masks: readQwenMasks(json, config.num_hidden_layers) }
}
