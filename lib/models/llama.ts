import type { CheckpointLayout, Step, Tensor } from '../nn/index.js'
import {
  activations,
  attention,
  CausalLM,
  Embedding,
  gatherRows,
  Linear,
  Module,
  RMSNorm,
  repeat,
  rotary,
  tiedHead,
  untiedHead,
} from '../nn/index.js'
import type { LlamaConfig } from './llama-config.js'
import { readLlamaConfig } from './llama-config.js'

/**
 * LLaMA 1 to 3: RMSNorm before each branch, rotary positions, grouped-query attention, SwiGLU.
 *
 * Touvron et al. 2023, https://arxiv.org/abs/2302.13971; Grattafiori et al. 2024, https://arxiv.org/abs/2407.21783
 */
export class Llama extends CausalLM<LlamaConfig> {
  static override readConfig = readLlamaConfig

  static override checkpoint: CheckpointLayout = {
    prefixes: ['', 'model.'],
    transposed: [],
    ignored: ['\\.rotary_emb\\.inv_freq$', '^lm_head\\.weight$'],
  }

  embed_tokens = new Embedding(this.config.vocab_size, this.config.hidden_size)
  layers = repeat(this.config.num_hidden_layers, () => new DecoderLayer(this.config))
  norm = new RMSNorm(this.config.hidden_size, { epsilon: this.config.rms_norm_eps })
  lm_head = this.config.tie_word_embeddings ? tiedHead(this.embed_tokens) : untiedHead(this.embed_tokens)
  maxPositions = this.config.max_position_embeddings

  forward(step: Step): Tensor {
    let x = this.embed_tokens.forward(step.tokens) // (N,C)
    for (const layer of this.layers) x = layer.forward(x, step)
    x = gatherRows(x, step.outputRows) // (R,C)
    return this.lm_head.forward(this.norm.forward(x)) // (R,V)
  }
}

class DecoderLayer extends Module<LlamaConfig> {
  input_layernorm = new RMSNorm(this.config.hidden_size, { epsilon: this.config.rms_norm_eps })
  self_attn = new Attention(this.config)
  post_attention_layernorm = new RMSNorm(this.config.hidden_size, { epsilon: this.config.rms_norm_eps })
  mlp = new MLP(this.config)

  forward(x: Tensor, step: Step): Tensor {
    x = x.add(this.self_attn.forward(this.input_layernorm.forward(x), step))
    return x.add(this.mlp.forward(this.post_attention_layernorm.forward(x)))
  }
}

class Attention extends Module<LlamaConfig> {
  H = this.config.num_attention_heads
  KH = this.config.num_key_value_heads
  D = this.config.head_dim
  options = { bias: this.config.attention_bias }
  q_proj = new Linear(this.config.hidden_size, this.H * this.D, this.options)
  k_proj = new Linear(this.config.hidden_size, this.KH * this.D, this.options)
  v_proj = new Linear(this.config.hidden_size, this.KH * this.D, this.options)
  o_proj = new Linear(this.H * this.D, this.config.hidden_size, this.options)
  rope = rotary(this.config.rope)

  forward(x: Tensor, step: Step): Tensor {
    const { H, KH } = this
    const q = this.rope.rotate(this.q_proj.forward(x), step, H) // (N,H*D)
    const k = this.rope.rotate(this.k_proj.forward(x), step, KH) // (N,KH*D)
    const v = this.v_proj.forward(x) // (N,KH*D)
    return this.o_proj.forward(attention(q, k, v, step, { heads: H, kvHeads: KH }))
  }
}

class MLP extends Module<LlamaConfig> {
  options = { bias: this.config.mlp_bias }
  gate_proj = new Linear(this.config.hidden_size, this.config.intermediate_size, this.options)
  up_proj = new Linear(this.config.hidden_size, this.config.intermediate_size, this.options)
  down_proj = new Linear(this.config.intermediate_size, this.config.hidden_size, this.options)
  act = activations[this.config.hidden_act]

  forward(x: Tensor): Tensor {
    const gate = this.gate_proj.forward(x) // (N,F)
    const up = this.up_proj.forward(x) // (N,F)
    return this.down_proj.forward(this.act(gate, up)) // act(gate) * up
  }
}
