// Makes test/fixtures: small random checkpoints, one for each kind of architecture, with the logits that the float64
// interpreter computes from the graph as it was recorded. Run `npm run build:ts` first.
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Interpreter } from '../dist/graph/interpreter.js'
import { modelFor } from '../dist/models/registry.js'
import { parameters, record } from '../dist/nn/index.js'
import { Random, writeRandomCheckpoint } from './random-checkpoint.mjs'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..', 'test', 'fixtures')
const promptTokens = 40

const textbook = {
  model_type: 'kvasir_decoder',
  vocab_size: 61,
  max_position_embeddings: 64,
  hidden_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 3,
}

const fixtures = {
  gpt2: { model_type: 'gpt2', vocab_size: 67, n_positions: 64, n_embd: 36, n_layer: 2, n_head: 3 },
  'gpt-neo': {
    model_type: 'gpt_neo',
    vocab_size: 67,
    max_position_embeddings: 64,
    hidden_size: 32,
    num_layers: 2,
    num_heads: 2,
    window_size: 9,
    attention_types: [[['global', 'local'], 1]],
  },
  llama: {
    model_type: 'llama',
    vocab_size: 71,
    max_position_embeddings: 64,
    hidden_size: 40,
    intermediate_size: 70,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 10,
    tie_word_embeddings: false,
  },
  'llama-yarn': {
    model_type: 'llama',
    vocab_size: 71,
    max_position_embeddings: 128,
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 1,
    attention_bias: true,
    tie_word_embeddings: true,
    rope_scaling: { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 32 },
  },
  'decoder-sinusoidal': {
    ...textbook,
    positions: 'sinusoidal',
    norm: 'layer_norm',
    residual: 'post_norm',
    feed_forward: 'relu',
    embedding_scale: Math.sqrt(24),
  },
  'decoder-alibi': {
    ...textbook,
    num_key_value_heads: 1,
    positions: 'alibi',
    norm: 'rms_norm',
    feed_forward: 'geglu',
    bias: false,
    sliding_window: 11,
    tie_word_embeddings: false,
  },
}

for (const [name, config] of Object.entries(fixtures)) {
  const folder = join(root, name)
  const model = modelFor(config)
  const { transposed } = model.checkpoint
  const graph = record(model)
  writeRandomCheckpoint({ folder, config, parameters: parameters(model), transposed, seed: name.length })
  const weights = readWeights(folder, parameters(model), transposed)
  const random = new Random(99)
  const ids = Array.from(
    { length: promptTokens },
    () => random.next() % Number(graph.values[graph.outputs.logits].shape[1]),
  )
  const { logits } = new Interpreter(graph, { weights: (path) => weights.get(path) }).run({
    tokens: Int32Array.from(ids),
    positions: Int32Array.from(ids, (_, i) => i),
    queryStarts: Int32Array.of(0, ids.length),
    contextLengths: Int32Array.of(ids.length),
    blockTables: Int32Array.of(0, 1),
    outputRows: Int32Array.from(ids, (_, i) => i),
  })
  writeFileSync(
    join(folder, 'golden.json'),
    `${JSON.stringify({ ids, logits: Array.from(logits, (x) => Number(x.toPrecision(9))) })}\n`,
  )
  console.log(`${name}: ${logits.length} logits`)
}

/** The parameters as the graph has them, (out, in), read back from the file. */
function readWeights(folder, wanted, transposed) {
  const file = readFileSync(join(folder, 'model.safetensors'))
  const headerBytes = Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.subarray(8, 8 + headerBytes).toString())
  return new Map(
    wanted.map(({ path, shape }) => {
      const [begin, end] = header[path].data_offsets
      const bytes = file.subarray(8 + headerBytes + begin, 8 + headerBytes + end)
      const values = new Float32Array(new Uint8Array(bytes).buffer)
      return [
        path,
        transposed.some((pattern) => new RegExp(pattern).test(path)) ? transpose(values, shape) : values,
      ]
    }),
  )
}

function transpose(values, [rows, cols]) {
  const result = new Float32Array(values.length)
  for (let row = 0; row < rows; row++)
    for (let col = 0; col < cols; col++) result[row * cols + col] = values[col * rows + row]
  return result
}
