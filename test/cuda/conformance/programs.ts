import { withSampling } from '#kvasir/graph/passes/index.js'
import { modelFor } from '#kvasir/models/registry.js'
import { record } from '#kvasir/nn/index.js'
import { CaseBuilder } from './case-builder.js'
import type { VectorCase } from './vector-file.js'

/** Shapes of well-known models. */
const configs = {
  'llama-3.2-1b': {
    model_type: 'llama',
    vocab_size: 128_256,
    max_position_embeddings: 131_072,
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    rope_theta: 500_000,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: true,
    rope_scaling: {
      rope_type: 'llama3',
      factor: 32,
      high_freq_factor: 4,
      low_freq_factor: 1,
      original_max_position_embeddings: 8192,
    },
  },
  'gpt2-124m': {
    model_type: 'gpt2',
    vocab_size: 50_257,
    n_positions: 1024,
    n_embd: 768,
    n_layer: 12,
    n_head: 12,
  },
  tiny: {
    model_type: 'llama',
    vocab_size: 150,
    max_position_embeddings: 1024,
    hidden_size: 64,
    intermediate_size: 96,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    tie_word_embeddings: true,
  },
}

/** Programs that benchmarks/cuda runs on random weights: the steps that generate, in bf16, with weights of any type. */
export function benchmarkPrograms(): VectorCase[] {
  const none = () => new Float32Array()
  return Object.entries(configs).flatMap(([name, config]) =>
    (['bf16', 'q8', 'q4'] as const).map((dtype) => {
      const graph = withSampling(record(modelFor(config)))
      return new CaseBuilder(`${name}, ${dtype}`, graph, none, { type: 'bf16', dtype }).vectorCase
    }),
  )
}
