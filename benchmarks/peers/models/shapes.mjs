// The shapes that are compared, and how many tokens each is measured with.
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { config as gpt2Config } from '../../gpt2-shape.mjs'

/** Where models of these shapes are kept once written: some 2 GB for GPT-2, 20 GB for Llama. */
export const cacheFolder = fileURLToPath(new URL('../.cache', import.meta.url))

export const shapes = {
  gpt2: {
    title: 'GPT-2 124M',
    config: gpt2Config,
    contextLength: 1024,
    promptTokens: 512,
    decodeTokens: 128,
  },
  llama: {
    title: 'Llama 3.2 1B',
    config: {
      model_type: 'llama',
      vocab_size: 128256,
      hidden_size: 2048,
      intermediate_size: 8192,
      num_hidden_layers: 16,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      head_dim: 64,
      max_position_embeddings: 1024,
      rms_norm_eps: 1e-5,
      rope_theta: 500000,
      tie_word_embeddings: true,
    },
    contextLength: 1024,
    promptTokens: 128,
    decodeTokens: 64,
  },
}

/** A configuration's dimensions, under the names that all families share. */
export function dimensions(config) {
  const isGpt2 = config.model_type === 'gpt2'
  const C = isGpt2 ? config.n_embd : config.hidden_size
  const H = isGpt2 ? config.n_head : config.num_attention_heads
  return {
    V: config.vocab_size,
    C,
    H,
    KH: isGpt2 ? H : config.num_key_value_heads,
    D: isGpt2 ? C / H : config.head_dim,
    F: isGpt2 ? 4 * C : config.intermediate_size,
    L: isGpt2 ? config.n_layer : config.num_hidden_layers,
    positions: isGpt2 ? config.n_positions : config.max_position_embeddings,
    /** Matrices of the feed-forward network: the gate makes three. */
    ffnMatrices: isGpt2 ? 2 : 3,
  }
}

/** Where a shape's files lie: the safetensors folder, GGUF files by type, ONNX files by type. */
export function modelFiles(name) {
  const folder = join(cacheFolder, name)
  return {
    safetensors: join(folder, 'safetensors'),
    gguf: (type) => join(folder, `${type}.gguf`),
    /** In the layout that transformers.js reads. */
    onnxFolder: join(folder, 'onnx-model'),
    onnx: (type) => join(folder, 'onnx-model', 'onnx', type === 'fp32' ? 'model.onnx' : `model_${type}.onnx`),
  }
}
