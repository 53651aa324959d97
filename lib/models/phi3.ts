import type { CheckpointLayout, ModelOptions } from '../nn/index.js'
import { integer, limits, readFields } from './config.js'
import { maskOf } from './layer-masks.js'
import { Llama, LlamaLayer } from './llama.js'
import { readLlamaConfig } from './llama-config.js'

type Phi3Config = ReturnType<typeof readPhi3Config>

/**
 * Phi-3, 3.5 and 4: a LLaMA whose checkpoints hold queries, keys and values in one matrix, gate and up in another.
 * Some of them rotate a share of each head's channels. Contexts are stretched by LongRoPE, with its factors for short
 * contexts where `contextLength` allows no more positions than the model was first trained for, else those for long ones.
 *
 * Abdin et al. 2024, https://arxiv.org/abs/2404.14219
 */
export class Phi3 extends Llama<Phi3Config> {
  static override readConfig = readPhi3Config

  override get checkpoint(): CheckpointLayout {
    const { num_attention_heads: H, num_key_value_heads: KH, head_dim: D, intermediate_size: F } = this.config
    return {
      ...super.checkpoint,
      fused: [
        { tensor: 'qkv_proj', parts: { q_proj: H * D, k_proj: KH * D, v_proj: KH * D } },
        { tensor: 'gate_up_proj', parts: { gate_proj: F, up_proj: F } },
      ],
    }
  }

  protected override layer() {
    return new LlamaLayer({ ...this.config, attention: { mask: this.config.mask } })
  }
}

/** Defaults are those of Hugging Face's Phi3Config. */
function readPhi3Config(json: Record<string, unknown>, { contextLength }: ModelOptions = {}) {
  const defaults = {
    contextLength,
    vocab_size: 32064,
    hidden_size: 3072,
    intermediate_size: 8192,
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-5,
  }
  // Its first checkpoints call LongRoPE by other names.
  const scaling = json.rope_scaling as Record<string, unknown> | null | undefined
  const type = scaling?.rope_type ?? scaling?.type
  const rope_scaling = type === 'su' || type === 'yarn' ? { ...scaling, rope_type: 'longrope' } : scaling
  const parameters = { ...scaling, ...(json.rope_parameters as Record<string, unknown> | null | undefined) }
  const original_max_position_embeddings =
    json.original_max_position_embeddings ?? parameters.original_max_position_embeddings ?? 4096
  const own = { rope_scaling, original_max_position_embeddings, attention_bias: false, mlp_bias: false }
  const config = readLlamaConfig({ ...json, ...own }, defaults)
  const { sliding_window } = readFields(json, { sliding_window: integer(limits.positions, null) })
  return { ...config, mask: maskOf(sliding_window) }
}
