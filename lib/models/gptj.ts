import type { CheckpointLayout, Step, Tensor } from '../nn/index.js'
import {
  Attention,
  activations,
  CausalLM,
  Embedding,
  gatherRows,
  LayerNorm,
  Linear,
  Module,
  mlp,
  repeat,
  rotary,
  tiedHead,
} from '../nn/index.js'
import {
  boolean,
  checkDivides,
  checkHeadSize,
  integer,
  limits,
  number,
  oneOf,
  orNull,
  readFields,
} from './config.js'
import { checkRotated } from './rope-parameters.js'

type GPTJConfig = ReturnType<typeof readGPTJConfig>

/**
 * GPT-J: attention and feed-forward side by side under one norm, rotary positions in pairs of neighbours.
 *
 * Wang & Komatsuzaki 2021, https://github.com/kingoflolz/mesh-transformer-jax
 */
export class GPTJ extends CausalLM<GPTJConfig> {
  static override readConfig = readGPTJConfig

  override get checkpoint(): CheckpointLayout {
    const { n_embd: C, hidden: F } = this.config
    return {
      prefixes: ['', 'transformer.'],
      transposed: [],
      ignored: ['\\.attn\\.(masked_)?bias$', '\\.embed_positions$', '^lm_head\\.(weight|bias)$'],
      fused: [
        { tensor: 'out_proj', parts: { o_proj: C } },
        { tensor: 'fc_in', parts: { up_proj: F } },
        { tensor: 'fc_out', parts: { down_proj: C } },
      ],
    }
  }

  wte = new Embedding(this.config.vocab_size, this.config.n_embd)
  h = repeat(this.config.n_layer, () => new Block(this.config))
  ln_f = new LayerNorm(this.config.n_embd, { epsilon: this.config.layer_norm_epsilon })
  lm_head = this.config.tie_word_embeddings
    ? tiedHead(this.wte)
    : new Linear(this.config.n_embd, this.config.vocab_size)
  maxPositions = this.config.n_positions

  forward(step: Step): Tensor {
    let x = this.wte.forward(step.tokens) // (N,C)
    for (const block of this.h) x = block.forward(x, step)
    x = gatherRows(x, step.outputRows) // (R,C)
    return this.lm_head.forward(this.ln_f.forward(x)) // (R,V)
  }
}

class Block extends Module<GPTJConfig> {
  ln_1 = new LayerNorm(this.config.n_embd, { epsilon: this.config.layer_norm_epsilon })
  attn = new Attention({
    width: this.config.n_embd,
    heads: this.config.n_head,
    positions: rotary({ partial: this.config.rotary_dim / this.config.headSize, interleaved: true }),
    bias: false,
  })
  mlp = mlp(activations[this.config.activation_function])({
    width: this.config.n_embd,
    hidden: this.config.hidden,
  })

  forward(x: Tensor, step: Step): Tensor {
    const h = this.ln_1.forward(x) // (N,C)
    return x.add(this.attn.forward(h, step)).add(this.mlp.forward(h))
  }
}

/** Defaults are those of Hugging Face's GPTJConfig. */
function readGPTJConfig(json: Record<string, unknown>) {
  const config = readFields(json, {
    vocab_size: integer(limits.vocabulary, 50400),
    n_positions: integer(limits.positions, 2048),
    n_embd: integer(limits.width, 4096),
    n_layer: integer(limits.layers, 28),
    n_head: integer(limits.heads, 16),
    n_inner: integer(limits.width, null),
    activation_function: oneOf(activations, 'gelu_new'),
    layer_norm_epsilon: number(1e-5),
    tie_word_embeddings: boolean(false),
  })
  checkDivides(config, 'n_head', 'n_embd')
  const headSize = config.n_embd / config.n_head
  checkHeadSize(headSize, 'n_embd')
  const rotary_dim = orNull(json, 'rotary_dim', integer(headSize, Math.min(64, headSize))) ?? headSize
  checkRotated(rotary_dim, rotary_dim, 'rotary_dim')
  return { ...config, headSize, rotary_dim, hidden: config.n_inner ?? 4 * config.n_embd }
}
