import type { CheckpointLayout, Step, Tensor } from '../nn/index.js'
import {
  activations,
  attention,
  CausalLM,
  Embedding,
  gatherRows,
  LayerNorm,
  Linear,
  Module,
  repeat,
  split,
  tiedHead,
  untiedHead,
} from '../nn/index.js'
import type { GPT2Config } from './gpt2-config.js'
import { readGPT2Config } from './gpt2-config.js'

type BlockConfig = GPT2Config & { layer: number }

/** GPT-2: pre-norm layers, learned positions, GELU. Radford et al. 2019, "Language models are unsupervised multitask learners" */
export class GPT2 extends CausalLM<GPT2Config> {
  static override readConfig = readGPT2Config

  static override checkpoint: CheckpointLayout = {
    prefixes: ['', 'transformer.'],
    transposed: ['\\.(c_attn|c_proj|c_fc)\\.weight$'], // Conv1D holds (inputs, outputs)
    ignored: ['\\.attn\\.(masked_)?bias$', '^lm_head\\.weight$'],
  }

  wte = new Embedding(this.config.vocab_size, this.config.n_embd)
  wpe = new Embedding(this.config.n_positions, this.config.n_embd)
  h = repeat(this.config.n_layer, (layer) => new Block({ ...this.config, layer }))
  ln_f = new LayerNorm(this.config.n_embd, { epsilon: this.config.layer_norm_epsilon })
  lm_head = this.config.tie_word_embeddings ? tiedHead(this.wte) : untiedHead(this.wte)
  maxPositions = this.config.n_positions

  forward(step: Step): Tensor {
    let x = this.wte.forward(step.tokens).add(this.wpe.forward(step.positions)) // (N,C)
    for (const block of this.h) x = block.forward(x, step)
    x = gatherRows(x, step.outputRows) // (R,C)
    return this.lm_head.forward(this.ln_f.forward(x)) // (R,V)
  }
}

class Block extends Module<BlockConfig> {
  ln_1 = new LayerNorm(this.config.n_embd, { epsilon: this.config.layer_norm_epsilon })
  attn = new Attention(this.config)
  ln_2 = new LayerNorm(this.config.n_embd, { epsilon: this.config.layer_norm_epsilon })
  mlp = new MLP(this.config)

  forward(x: Tensor, step: Step): Tensor {
    x = x.add(this.attn.forward(this.ln_1.forward(x), step))
    return x.add(this.mlp.forward(this.ln_2.forward(x)))
  }
}

class Attention extends Module<BlockConfig> {
  c_attn = new Linear(this.config.n_embd, 3 * this.config.n_embd)
  c_proj = new Linear(this.config.n_embd, this.config.n_embd)

  forward(x: Tensor, step: Step): Tensor {
    const { n_embd: C, n_head: heads } = this.config
    const [q, k, v] = split(this.c_attn.forward(x), [C, C, C]) // each (N,H*D)
    return this.c_proj.forward(attention(q, k, v, step, { heads, scale: this.scale }))
  }

  get scale(): number {
    const { n_embd, n_head, layer, scale_attn_weights, scale_attn_by_inverse_layer_idx } = this.config
    const scale = scale_attn_weights ? 1 / Math.sqrt(n_embd / n_head) : 1
    return scale_attn_by_inverse_layer_idx ? scale / (layer + 1) : scale
  }
}

class MLP extends Module<BlockConfig> {
  c_fc = new Linear(this.config.n_embd, this.config.n_inner ?? 4 * this.config.n_embd)
  c_proj = new Linear(this.config.n_inner ?? 4 * this.config.n_embd, this.config.n_embd)
  act = activations[this.config.activation_function]

  forward(x: Tensor): Tensor {
    return this.c_proj.forward(this.act(this.c_fc.forward(x)))
  }
}
