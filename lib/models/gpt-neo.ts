import type { CheckpointLayout, Step, Tensor } from '../nn/index.js'
import {
  activations,
  attention,
  CausalLM,
  causal,
  Embedding,
  gatherRows,
  LayerNorm,
  Linear,
  Module,
  repeat,
  slidingWindow,
  tiedHead,
  untiedHead,
} from '../nn/index.js'
import type { GPTNeoConfig } from './gpt-neo-config.js'
import { readGPTNeoConfig } from './gpt-neo-config.js'

type BlockConfig = GPTNeoConfig & { layer: number }

/**
 * GPT-Neo: a GPT-2 whose layers see all positions and the last `window_size` in turn, with scores that are not scaled.
 *
 * Black et al. 2021, https://doi.org/10.5281/zenodo.5297715
 */
export class GPTNeo extends CausalLM<GPTNeoConfig> {
  static override readConfig = readGPTNeoConfig

  static override checkpoint: CheckpointLayout = {
    prefixes: ['', 'transformer.'],
    transposed: [],
    ignored: ['\\.attn\\.attention\\.(masked_)?bias$', '^lm_head\\.weight$'],
  }

  wte = new Embedding(this.config.vocab_size, this.config.hidden_size)
  wpe = new Embedding(this.config.max_position_embeddings, this.config.hidden_size)
  h = repeat(this.config.num_layers, (layer) => new Block({ ...this.config, layer }))
  ln_f = new LayerNorm(this.config.hidden_size, { epsilon: this.config.layer_norm_epsilon })
  lm_head = this.config.tie_word_embeddings ? tiedHead(this.wte) : untiedHead(this.wte)
  maxPositions = this.config.max_position_embeddings

  forward(step: Step): Tensor {
    let x = this.wte.forward(step.tokens).add(this.wpe.forward(step.positions)) // (N,C)
    for (const block of this.h) x = block.forward(x, step)
    x = gatherRows(x, step.outputRows) // (R,C)
    return this.lm_head.forward(this.ln_f.forward(x)) // (R,V)
  }
}

class Block extends Module<BlockConfig> {
  ln_1 = new LayerNorm(this.config.hidden_size, { epsilon: this.config.layer_norm_epsilon })
  attn = { attention: new SelfAttention(this.config) }
  ln_2 = new LayerNorm(this.config.hidden_size, { epsilon: this.config.layer_norm_epsilon })
  mlp = new MLP(this.config)

  forward(x: Tensor, step: Step): Tensor {
    x = x.add(this.attn.attention.forward(this.ln_1.forward(x), step))
    return x.add(this.mlp.forward(this.ln_2.forward(x)))
  }
}

class SelfAttention extends Module<BlockConfig> {
  q_proj = new Linear(this.config.hidden_size, this.config.hidden_size, { bias: false })
  k_proj = new Linear(this.config.hidden_size, this.config.hidden_size, { bias: false })
  v_proj = new Linear(this.config.hidden_size, this.config.hidden_size, { bias: false })
  out_proj = new Linear(this.config.hidden_size, this.config.hidden_size)

  forward(x: Tensor, step: Step): Tensor {
    const { num_heads: heads, attention_types, window_size, layer } = this.config
    const [q, k, v] = [this.q_proj.forward(x), this.k_proj.forward(x), this.v_proj.forward(x)] // (N,H*D)
    const mask = attention_types[layer] === 'local' ? slidingWindow(window_size) : causal
    return this.out_proj.forward(attention(q, k, v, step, { heads, mask, scale: 1 }))
  }
}

class MLP extends Module<BlockConfig> {
  c_fc = new Linear(this.config.hidden_size, this.config.intermediate_size ?? 4 * this.config.hidden_size)
  c_proj = new Linear(this.config.intermediate_size ?? 4 * this.config.hidden_size, this.config.hidden_size)
  act = activations[this.config.activation_function]

  forward(x: Tensor): Tensor {
    return this.c_proj.forward(this.act(this.c_fc.forward(x)))
  }
}
