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
  postNorm,
  preNorm,
  repeat,
  tiedHead,
  untiedHead,
} from '../nn/index.js'
import { boolean, checkDivides, checkHeadSize, integer, limits, oneOf, readFields } from './config.js'

type OPTConfig = ReturnType<typeof readOPTConfig>

/** OPT: learned positions, ReLU, norms before each branch or after. Zhang et al. 2022, https://arxiv.org/abs/2205.01068 */
export class OPT extends CausalLM<OPTConfig> {
  static override readConfig = readOPTConfig

  override get checkpoint(): CheckpointLayout {
    return {
      prefixes: ['', 'model.decoder.', 'decoder.'],
      transposed: [],
      ignored: ['^lm_head\\.weight$'],
      fused: [
        { tensor: 'embed_positions', parts: { offset: 2, embed_positions: this.maxPositions } }, // two unused rows
        { tensor: 'out_proj', parts: { o_proj: this.config.hidden_size } },
      ],
    }
  }

  maxPositions = this.config.max_position_embeddings
  embed_tokens = new Embedding(this.config.vocab_size, this.config.embedSize)
  embed_positions = new Embedding(this.maxPositions, this.config.hidden_size)
  project_in = projection(this.config.embedSize, this.config.hidden_size)
  layers = repeat(this.config.num_hidden_layers, () => new Layer(this.config))
  final_layer_norm = this.config.hasFinalNorm ? normOf(this.config) : null
  project_out = projection(this.config.hidden_size, this.config.embedSize)
  lm_head = this.config.tie_word_embeddings ? tiedHead(this.embed_tokens) : untiedHead(this.embed_tokens)

  forward(step: Step): Tensor {
    let x = this.embed_tokens.forward(step.tokens) // (N,E)
    if (this.project_in) x = this.project_in.forward(x) // (N,C)
    x = x.add(this.embed_positions.forward(step.positions))
    for (const layer of this.layers) x = layer.forward(x, step)
    x = gatherRows(x, step.outputRows) // (R,C)
    if (this.final_layer_norm) x = this.final_layer_norm.forward(x)
    if (this.project_out) x = this.project_out.forward(x) // (R,E)
    return this.lm_head.forward(x) // (R,V)
  }
}

class Layer extends Module<OPTConfig> {
  self_attn = new Attention({
    width: this.config.hidden_size,
    heads: this.config.num_attention_heads,
    bias: this.config.enable_bias,
  })
  self_attn_layer_norm = normOf(this.config)
  fc1 = new Linear(this.config.hidden_size, this.config.ffn_dim, { bias: this.config.enable_bias })
  fc2 = new Linear(this.config.ffn_dim, this.config.hidden_size, { bias: this.config.enable_bias })
  final_layer_norm = normOf(this.config)

  forward(x: Tensor, step: Step): Tensor {
    const { residual } = this.config
    x = residual.add(x, this.self_attn_layer_norm, (x) => this.self_attn.forward(x, step))
    const act = activations[this.config.activation_function]
    return residual.add(x, this.final_layer_norm, (x) => this.fc2.forward(act(this.fc1.forward(x))))
  }
}

function normOf({ hidden_size, layer_norm_elementwise_affine: affine }: OPTConfig): LayerNorm {
  return new LayerNorm(hidden_size, { affine })
}

/** Between embeddings and layers of another width; null where they are as wide. */
function projection(inputs: number, outputs: number): Linear | null {
  return inputs === outputs ? null : new Linear(inputs, outputs, { bias: false })
}

/** Defaults are those of Hugging Face's OPTConfig. */
function readOPTConfig(json: Record<string, unknown>) {
  const config = readFields(json, {
    vocab_size: integer(limits.vocabulary, 50272),
    hidden_size: integer(limits.width, 768),
    num_hidden_layers: integer(limits.layers, 12),
    ffn_dim: integer(limits.width, 3072),
    max_position_embeddings: integer(limits.positions, 2048),
    do_layer_norm_before: boolean(true),
    _remove_final_layer_norm: boolean(false),
    word_embed_proj_dim: integer(limits.width, null),
    num_attention_heads: integer(limits.heads, 12),
    activation_function: oneOf(activations, 'relu'),
    enable_bias: boolean(true),
    layer_norm_elementwise_affine: boolean(true),
    tie_word_embeddings: boolean(true),
  })
  checkDivides(config, 'num_attention_heads', 'hidden_size')
  checkHeadSize(config.hidden_size / config.num_attention_heads, 'hidden_size')
  return {
    ...config,
    embedSize: config.word_embed_proj_dim ?? config.hidden_size,
    residual: config.do_layer_norm_before ? preNorm : postNorm,
    hasFinalNorm: config.do_layer_norm_before && !config._remove_final_layer_norm,
  }
}
