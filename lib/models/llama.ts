import type { AttentionConfig, CheckpointLayout, Step, Tensor } from '../nn/index.js'
import {
  Attention,
  activations,
  CausalLM,
  Embedding,
  gatedMlp,
  gatherRows,
  Module,
  RMSNorm,
  repeat,
  rotary,
  tiedHead,
  untiedHead,
} from '../nn/index.js'
import type { LlamaConfig } from './llama-config.js'
import { readLlamaConfig } from './llama-config.js'

/** A layer of a LLaMA or of a family that differs in it. */
export interface Layer extends Module<unknown> {
  /** (N, C) -> (N, C) */
  forward(x: Tensor, step: Step): Tensor
}

/**
 * LLaMA 1 to 3: RMSNorm before each branch, rotary positions, grouped-query attention, SwiGLU. Families that descend
 * from it have layers of their own, or their own way from tokens to the first layer.
 *
 * Touvron et al. 2023, https://arxiv.org/abs/2302.13971; Grattafiori et al. 2024, https://arxiv.org/abs/2407.21783
 */
export class Llama<Config extends LlamaConfig = LlamaConfig> extends CausalLM<Config> {
  static override readConfig: (json: Record<string, unknown>) => LlamaConfig = (json) => readLlamaConfig(json)

  static override checkpoint: CheckpointLayout = {
    prefixes: ['', 'model.'],
    transposed: [],
    ignored: ['\\.rotary_emb\\.inv_freq$', '^lm_head\\.weight$'],
  }

  embed_tokens = new Embedding(this.config.vocab_size, this.config.hidden_size)
  layers = repeat(this.config.num_hidden_layers, (index) => this.layer(index))
  norm = new RMSNorm(this.config.hidden_size, { epsilon: this.config.rms_norm_eps })
  lm_head = this.config.tie_word_embeddings ? tiedHead(this.embed_tokens) : untiedHead(this.embed_tokens)
  maxPositions = this.config.max_position_embeddings

  protected layer(_index: number): Layer {
    return new LlamaLayer(this.config)
  }

  protected embed(step: Step): Tensor {
    return this.embed_tokens.forward(step.tokens)
  }

  forward(step: Step): Tensor {
    let x = this.embed(step) // (N,C)
    for (const layer of this.layers) x = layer.forward(x, step)
    x = gatherRows(x, step.outputRows) // (R,C)
    return this.lm_head.forward(this.norm.forward(x)) // (R,V)
  }
}

/** `attention` holds what differs from LLaMA's, `feedForward` what takes the place of its feed-forward part. */
export type LlamaLayerConfig = LlamaConfig & {
  attention?: Partial<AttentionConfig>
  feedForward?: Module<unknown> & { forward(x: Tensor): Tensor }
}

export class LlamaLayer extends Module<LlamaLayerConfig> {
  input_layernorm = new RMSNorm(this.config.hidden_size, { epsilon: this.config.rms_norm_eps })
  self_attn = new Attention(attentionOf(this.config))
  post_attention_layernorm = new RMSNorm(this.config.hidden_size, { epsilon: this.config.rms_norm_eps })
  mlp = this.config.feedForward ?? feedForwardOf(this.config)

  forward(x: Tensor, step: Step): Tensor {
    x = x.add(this.self_attn.forward(this.input_layernorm.forward(x), step))
    return x.add(this.mlp.forward(this.post_attention_layernorm.forward(x)))
  }
}

export function attentionOf({ attention, ...config }: LlamaLayerConfig): AttentionConfig {
  return {
    width: config.hidden_size,
    heads: config.num_attention_heads,
    kvHeads: config.num_key_value_heads,
    headSize: config.head_dim,
    positions: rotary(config.rope),
    bias: config.attention_bias,
    ...attention,
  }
}

export function feedForwardOf({ hidden_act, hidden_size, intermediate_size, mlp_bias }: LlamaConfig) {
  const sizes = { width: hidden_size, hidden: intermediate_size, bias: mlp_bias }
  return gatedMlp(activations[hidden_act])(sizes)
}
