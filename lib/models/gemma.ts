import type { CheckpointLayout, Step, Tensor } from '../nn/index.js'
import { activations, scale } from '../nn/index.js'
import { oneOf, readFields } from './config.js'
import { Llama } from './llama.js'
import type { LlamaConfig, LlamaDefaults } from './llama-config.js'
import { readLlamaConfig } from './llama-config.js'

/**
 * Gemma: a LLaMA with embeddings times sqrt(width), a gate through GELU, and norms whose scale is 1 + weight.
 *
 * Gemma Team 2024, https://arxiv.org/abs/2403.08295
 */
export class Gemma<Config extends LlamaConfig = LlamaConfig> extends Llama<Config> {
  static override readConfig: (json: Record<string, unknown>) => LlamaConfig = readGemmaConfig

  static override checkpoint: CheckpointLayout = {
    ...Llama.checkpoint,
    lessOne: ['norm\\.weight$'], // every norm's
  }

  protected override embed(step: Step): Tensor {
    return scale(super.embed(step), Math.sqrt(this.config.hidden_size))
  }
}

/** What Hugging Face's GemmaConfig, Gemma2Config and Gemma3TextConfig leave alike. */
const gemmaDefaults = {
  vocab_size: 256000,
  head_dim: 256,
  max_position_embeddings: 8192,
  tie_word_embeddings: true,
}

/** The fields that all Gemmas have; `hidden_act` of the first checkpoints is not what they were trained with. */
export function readGemmaFields(json: Record<string, unknown>, own: Partial<LlamaDefaults>): LlamaConfig {
  const { hidden_activation: hidden_act } = readFields(json, {
    hidden_activation: oneOf(activations, 'gelu_pytorch_tanh'),
  })
  return readLlamaConfig({ ...json, hidden_act, mlp_bias: false }, { ...gemmaDefaults, ...own })
}

/** Defaults are those of Hugging Face's GemmaConfig. */
function readGemmaConfig(json: Record<string, unknown>): LlamaConfig {
  return readGemmaFields(json, {
    hidden_size: 3072,
    intermediate_size: 24576,
    num_hidden_layers: 28,
    num_attention_heads: 16,
    num_key_value_heads: 16,
  })
}
