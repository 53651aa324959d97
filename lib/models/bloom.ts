import type { CheckpointLayout, Step, Tensor } from '../nn/index.js'
import {
  Attention,
  alibi,
  CausalLM,
  Embedding,
  gatherRows,
  geluTanh,
  LayerNorm,
  Module,
  mlp,
  repeat,
  tiedHead,
  untiedHead,
} from '../nn/index.js'
import { boolean, checkDivides, checkHeadSize, integer, limits, number, readFields } from './config.js'

type BloomConfig = ReturnType<typeof readBloomConfig>

/**
 * BLOOM: positions by ALiBi, a norm of the embeddings. Checkpoints hold queries, keys and values of a head together.
 *
 * BigScience Workshop 2022, https://arxiv.org/abs/2211.05100
 */
export class Bloom extends CausalLM<BloomConfig> {
  static override readConfig = readBloomConfig

  override get checkpoint(): CheckpointLayout {
    const { n_head: times, hidden_size: C } = this.config
    const D = C / times
    return {
      prefixes: ['', 'transformer.'],
      transposed: [],
      ignored: ['^lm_head\\.weight$'],
      fused: [
        { tensor: 'query_key_value', parts: { q_proj: D, k_proj: D, v_proj: D }, times },
        { tensor: 'dense', parts: { o_proj: C } },
        { tensor: 'dense_h_to_4h', parts: { up_proj: 4 * C } },
        { tensor: 'dense_4h_to_h', parts: { down_proj: C } },
      ],
    }
  }

  word_embeddings = new Embedding(this.config.vocab_size, this.config.hidden_size)
  word_embeddings_layernorm = normOf(this.config)
  h = repeat(this.config.n_layer, () => new Block(this.config))
  ln_f = normOf(this.config)
  lm_head = this.config.tie_word_embeddings
    ? tiedHead(this.word_embeddings)
    : untiedHead(this.word_embeddings)
  maxPositions = this.config.seq_length

  forward(step: Step): Tensor {
    let x = this.word_embeddings_layernorm.forward(this.word_embeddings.forward(step.tokens)) // (N,C)
    for (const block of this.h) x = block.forward(x, step)
    x = gatherRows(x, step.outputRows) // (R,C)
    return this.lm_head.forward(this.ln_f.forward(x)) // (R,V)
  }
}

class Block extends Module<BloomConfig> {
  input_layernorm = normOf(this.config)
  self_attention = new Attention({
    width: this.config.hidden_size,
    heads: this.config.n_head,
    positions: alibi(),
  })
  post_attention_layernorm = normOf(this.config)
  mlp = mlp(geluTanh)({ width: this.config.hidden_size, hidden: 4 * this.config.hidden_size })

  forward(x: Tensor, step: Step): Tensor {
    const { apply_residual_connection_post_layernorm: fromNorm } = this.config
    let h = this.input_layernorm.forward(x)
    x = (fromNorm ? h : x).add(this.self_attention.forward(h, step))
    h = this.post_attention_layernorm.forward(x)
    return (fromNorm ? h : x).add(this.mlp.forward(h))
  }
}

function normOf({ hidden_size, layer_norm_epsilon: epsilon }: BloomConfig): LayerNorm {
  return new LayerNorm(hidden_size, { epsilon })
}

/** Defaults are those of Hugging Face's BloomConfig, which knows some fields by two names; its positions have no end. */
function readBloomConfig(json: Record<string, unknown>) {
  const config = readFields(
    {
      ...json,
      hidden_size: json.n_embed ?? json.hidden_size,
      n_layer: json.n_layer ?? json.num_hidden_layers,
      n_head: json.n_head ?? json.num_attention_heads,
    },
    {
      vocab_size: integer(limits.vocabulary, 250880),
      hidden_size: integer(limits.width, 64),
      n_layer: integer(limits.layers, 2),
      n_head: integer(limits.heads, 8),
      seq_length: integer(limits.positions, 2048),
      layer_norm_epsilon: number(1e-5),
      apply_residual_connection_post_layernorm: boolean(false),
      tie_word_embeddings: boolean(true),
    },
  )
  checkDivides(config, 'n_head', 'hidden_size')
  checkHeadSize(config.hidden_size / config.n_head, 'hidden_size')
  return config
}
