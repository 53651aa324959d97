import type { CheckpointLayout, Step, Tensor } from '../nn/index.js'
import {
  Attention,
  activations,
  CausalLM,
  Embedding,
  gatherRows,
  LayerNorm,
  Module,
  mlp,
  repeat,
  rotary,
  tiedHead,
  untiedHead,
} from '../nn/index.js'
import { boolean, checkDivides, checkHeadSize, integer, limits, number, oneOf, readFields } from './config.js'
import { readRopeParameters } from './rope-parameters.js'

type GPTNeoXConfig = ReturnType<typeof readGPTNeoXConfig>

/**
 * GPT-NeoX, Pythia: attention and feed-forward side by side, each under a norm of its own; a share of each head's
 * channels rotates. Checkpoints hold queries, keys and values of a head together.
 *
 * Black et al. 2022, https://arxiv.org/abs/2204.06745
 */
export class GPTNeoX extends CausalLM<GPTNeoXConfig> {
  static override readConfig = readGPTNeoXConfig

  override get checkpoint(): CheckpointLayout {
    const { num_attention_heads: times, hidden_size: C, intermediate_size: F } = this.config
    const D = C / times
    return {
      prefixes: ['', 'gpt_neox.'],
      transposed: [],
      ignored: ['\\.attention\\.(masked_)?bias$', '\\.rotary_emb\\.inv_freq$', '^embed_out\\.weight$'],
      fused: [
        { tensor: 'query_key_value', parts: { q_proj: D, k_proj: D, v_proj: D }, times },
        { tensor: 'dense', parts: { o_proj: C } },
        { tensor: 'dense_h_to_4h', parts: { up_proj: F } },
        { tensor: 'dense_4h_to_h', parts: { down_proj: C } },
      ],
    }
  }

  embed_in = new Embedding(this.config.vocab_size, this.config.hidden_size)
  layers = repeat(this.config.num_hidden_layers, () => new Layer(this.config))
  final_layer_norm = normOf(this.config)
  embed_out = this.config.tie_word_embeddings ? tiedHead(this.embed_in) : untiedHead(this.embed_in)
  maxPositions = this.config.max_position_embeddings

  forward(step: Step): Tensor {
    let x = this.embed_in.forward(step.tokens) // (N,C)
    for (const layer of this.layers) x = layer.forward(x, step)
    x = gatherRows(x, step.outputRows) // (R,C)
    return this.embed_out.forward(this.final_layer_norm.forward(x)) // (R,V)
  }
}

class Layer extends Module<GPTNeoXConfig> {
  input_layernorm = normOf(this.config)
  attention = new Attention({
    width: this.config.hidden_size,
    heads: this.config.num_attention_heads,
    positions: rotary(this.config.rope),
    bias: this.config.attention_bias,
  })
  post_attention_layernorm = normOf(this.config)
  mlp = mlp(activations[this.config.hidden_act])({
    width: this.config.hidden_size,
    hidden: this.config.intermediate_size,
  })

  forward(x: Tensor, step: Step): Tensor {
    const attended = x.add(this.attention.forward(this.input_layernorm.forward(x), step))
    const fed = this.config.use_parallel_residual ? x : attended
    return attended.add(this.mlp.forward(this.post_attention_layernorm.forward(fed)))
  }
}

function normOf({ hidden_size, layer_norm_eps: epsilon }: GPTNeoXConfig): LayerNorm {
  return new LayerNorm(hidden_size, { epsilon })
}

/** Defaults are those of Hugging Face's GPTNeoXConfig. */
function readGPTNeoXConfig(json: Record<string, unknown>) {
  const config = readFields(json, {
    vocab_size: integer(limits.vocabulary, 50432),
    hidden_size: integer(limits.width, 6144),
    num_hidden_layers: integer(limits.layers, 44),
    num_attention_heads: integer(limits.heads, 64),
    intermediate_size: integer(limits.width, 24576),
    hidden_act: oneOf(activations, 'gelu'),
    rotary_pct: number(0.25),
    rotary_emb_base: number(10000, 2),
    max_position_embeddings: integer(limits.positions, 2048),
    layer_norm_eps: number(1e-5),
    use_parallel_residual: boolean(true),
    attention_bias: boolean(true),
    tie_word_embeddings: boolean(false),
  })
  checkDivides(config, 'num_attention_heads', 'hidden_size')
  const headSize = config.hidden_size / config.num_attention_heads
  checkHeadSize(headSize, 'hidden_size')
  const { max_position_embeddings: maxPositions, rotary_emb_base: theta, rotary_pct: partial } = config
  return { ...config, rope: readRopeParameters(json, { maxPositions, headSize, theta, partial }) }
}
