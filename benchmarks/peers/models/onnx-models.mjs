// GPT-2 and Llama as ONNX graphs with a cache of keys and values, as transformers.js names their inputs and outputs.
//
// Attention is one node, GroupQueryAttention, and only the last token's logits are computed: a serving export, which is
// what onnxruntime runs fastest. transformers.js finds out the cache's shape by the name of the batch's dimension.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { encodeNBits } from './number-formats.mjs'
import { OnnxFile } from './onnx-file.mjs'
import { dimensions } from './shapes.mjs'

const microsoft = 'com.microsoft'
const blockSize = 32

/** @param {'fp32' | 'q4'} type of matrices; embeddings are fp32 in both */
export function writeOnnxModel(path, checkpoint, type) {
  mkdirSync(dirname(path), { recursive: true })
  const file = new OnnxFile(path)
  const sizes = dimensions(checkpoint.config)
  const build = checkpoint.config.model_type === 'gpt2' ? buildGpt2 : buildLlama
  const graph = new GraphBuilder(file, { checkpoint, type, sizes })
  const logits = build(graph)
  file.output(logits, 'float', ['batch_size', 1, sizes.V])
  file.finish()
}

/** What transformers.js reads beside the graphs. */
export function writeOnnxConfig(folder, config) {
  mkdirSync(folder, { recursive: true })
  const external = { 'transformers.js_config': { use_external_data_format: true } }
  const write = (name, json) => writeFileSync(join(folder, name), `${JSON.stringify(json, null, 2)}\n`)
  write('config.json', { ...config, ...external })
  write('generation_config.json', { do_sample: false })
}

class GraphBuilder {
  constructor(file, { checkpoint, type, sizes }) {
    Object.assign(this, { file, checkpoint, type, sizes })
    this.config = checkpoint.config
    this.ids = file.input('input_ids', 'int64', ['batch_size', 'sequence_length'])
    const mask = file.input('attention_mask', 'int64', ['batch_size', 'total_sequence_length'])
    const axis = file.constant('axis_1', 'int64', { dims: [1], values: [1] })
    const one = file.constant('one', 'int32', { dims: [], values: [1] })
    // How many tokens there are with this step's, and the same less one, for each sequence of the batch.
    const sums = file.node('ReduceSum', 'mask_sums', [mask, axis], { attributes: { keepdims: { int: 0 } } })
    const counts = this.cast('mask_counts', sums, 6)
    this.lastPositions = file.node('Sub', 'last_positions', [counts, one])
    this.totalTokens = this.cast('total_tokens_i32', this.dimension('total_tokens_i64', mask), 6)
  }

  cast(name, input, to) {
    return this.file.node('Cast', name, [input], { attributes: { to: { int: to } } })
  }

  /** The length of a tensor's axis 1, a scalar. */
  dimension(name, tensor) {
    const index = this.file.constant(`${name}.index`, 'int64', { dims: [], values: [1] })
    return this.file.node('Gather', name, [this.file.node('Shape', `${name}.shape`, [tensor]), index])
  }

  vector(name) {
    return this.file.weight(name, 'float', {
      dims: this.checkpoint.shape(name),
      chunks: [this.checkpoint.read(name)],
    })
  }

  /** A table of embeddings, rows as they are. */
  table(name) {
    const { file, checkpoint } = this
    return file.weight(name, 'float', { dims: checkpoint.shape(name), chunks: checkpoint.chunks(name) })
  }

  /** x times a matrix of the checkpoint, plus its bias where it has one. */
  linear(name, x, { bias = false } = {}) {
    const weight = `${name}.weight`
    const y = this.type === 'q4' ? this.#fourBits(name, x, weight) : this.#product(name, x, weight)
    return bias ? this.file.node('Add', `${name}.sum`, [y, this.vector(`${name}.bias`)]) : y
  }

  #product(name, x, weight) {
    const dims = this.checkpoint.shape(weight).toReversed()
    const matrix = this.file.weight(weight, 'float', {
      dims,
      chunks: [this.checkpoint.readTransposed(weight)],
    })
    return this.file.node('MatMul', `${name}.product`, [x, matrix])
  }

  #fourBits(name, x, weight) {
    const [rows, cols] = this.checkpoint.shape(weight)
    const scales = []
    const numbers = function* (chunks) {
      for (const chunk of chunks) {
        const encoded = encodeNBits(chunk)
        scales.push(encoded.scales)
        yield encoded.numbers
      }
    }
    const blocks = cols / blockSize
    const matrix = this.file.weight(`${weight}_q4`, 'uint8', {
      dims: [rows, blocks, blockSize / 2],
      chunks: numbers(this.checkpoint.chunks(weight)),
    })
    const scale = this.file.weight(`${weight}_scales`, 'float', { dims: [rows * blocks], chunks: scales })
    const attributes = {
      K: { int: cols },
      N: { int: rows },
      bits: { int: 4 },
      block_size: { int: blockSize },
      accuracy_level: { int: 4 }, // activations in 8 bits
    }
    return this.file.node('MatMulNBits', `${name}.product`, [x, matrix, scale], {
      domain: microsoft,
      attributes,
    })
  }

  /** Attention over the cache and this step's tokens. `keys` and `values` are empty where `queries` holds all three. */
  attention(layer, [queries, keys, values], { rotary } = {}) {
    const { file, sizes } = this
    const cache = (name) => ['batch_size', sizes.KH, name, sizes.D]
    const past = ['key', 'value'].map((kind) =>
      file.input(`past_key_values.${layer}.${kind}`, 'float', cache('past_sequence_length')),
    )
    const present = ['key', 'value'].map((kind) => `present.${layer}.${kind}`)
    for (const name of present) file.output(name, 'float', cache('total_sequence_length'))
    const name = `attention.${layer}`
    const inputs = [queries, keys, values, ...past, this.lastPositions, this.totalTokens, ...(rotary ?? [])]
    const attributes = {
      num_heads: { int: sizes.H },
      kv_num_heads: { int: sizes.KH },
      do_rotary: { int: rotary ? 1 : 0 },
    }
    return file.node('GroupQueryAttention', name, inputs, {
      domain: microsoft,
      attributes,
      outputs: [name, ...present],
    })
  }

  /** The last token's channels, (batch, 1, C). */
  lastToken(x) {
    const last = this.file.constant('last', 'int64', { dims: [1], values: [-1] })
    return this.file.node('Gather', 'last_token', [x, last], { attributes: { axis: { int: 1 } } })
  }

  /** Logits by the table of embeddings, which fp32 shares with the embedding and 4 bits hold once more. */
  tiedHead(x, table) {
    const { file, sizes } = this
    if (this.type === 'q4') return this.file.node('Identity', 'logits', [this.#fourBits('head', x, table)])
    const flat = file.constant('head.flat', 'int64', { dims: [2], values: [-1, sizes.C] })
    const full = file.constant('head.full', 'int64', { dims: [3], values: [-1, 1, sizes.V] })
    const rows = file.node('Reshape', 'head.rows', [x, flat])
    const product = file.node('Gemm', 'head.product', [rows, table], { attributes: { transB: { int: 1 } } })
    return file.node('Reshape', 'logits', [product, full])
  }
}

function buildGpt2(graph) {
  const { file, sizes } = graph
  const norm = (name, x) =>
    file.node('LayerNormalization', name, [x, graph.vector(`${name}.weight`), graph.vector(`${name}.bias`)], {
      attributes: { axis: { int: -1 }, epsilon: { float: 1e-5 } },
    })
  const tokens = file.node('Gather', 'token_embeddings', [graph.table('wte.weight'), graph.ids])
  const places = file.node('Gather', 'place_embeddings', [graph.table('wpe.weight'), positions(graph)])
  let x = file.node('Add', 'embeddings', [tokens, places])
  for (let layer = 0; layer < sizes.L; layer++) {
    const at = (name) => `h.${layer}.${name}`
    const qkv = graph.linear(at('attn.c_attn'), norm(at('ln_1'), x), { bias: true })
    const attended = graph.attention(layer, [qkv, '', ''])
    x = file.node('Add', at('residual_1'), [x, graph.linear(at('attn.c_proj'), attended, { bias: true })])
    const hidden = graph.linear(at('mlp.c_fc'), norm(at('ln_2'), x), { bias: true })
    const active = file.node('FastGelu', at('gelu'), [hidden], { domain: microsoft })
    x = file.node('Add', at('residual_2'), [x, graph.linear(at('mlp.c_proj'), active, { bias: true })])
  }
  return graph.tiedHead(norm('ln_f', graph.lastToken(x)), 'wte.weight')
}

/** From the number of cached tokens on, (tokens,). */
function positions(graph) {
  const { file } = graph
  const tokens = graph.dimension('tokens', graph.ids)
  const total = graph.cast('total_tokens_again', graph.totalTokens, 7)
  const step = file.constant('step', 'int64', { dims: [], values: [1] })
  return file.node('Range', 'positions', [file.node('Sub', 'past_tokens', [total, tokens]), total, step])
}

function buildLlama(graph) {
  const { file, sizes, config } = graph
  const norm = (name, x) =>
    file.node('SimplifiedLayerNormalization', name, [x, graph.vector(`${name}.weight`)], {
      attributes: { axis: { int: -1 }, epsilon: { float: config.rms_norm_eps } },
    })
  const rotary = rotaryTables(graph)
  let x = file.node('Gather', 'embeddings', [graph.table('embed_tokens.weight'), graph.ids])
  for (let layer = 0; layer < sizes.L; layer++) {
    const at = (name) => `layers.${layer}.${name}`
    const input = norm(at('input_layernorm'), x)
    const qkv = ['q_proj', 'k_proj', 'v_proj'].map((name) => graph.linear(at(`self_attn.${name}`), input))
    const attended = graph.attention(layer, qkv, { rotary })
    x = file.node('Add', at('residual_1'), [x, graph.linear(at('self_attn.o_proj'), attended)])
    const middle = norm(at('post_attention_layernorm'), x)
    const gate = graph.linear(at('mlp.gate_proj'), middle)
    const active = file.node('Mul', at('silu'), [gate, file.node('Sigmoid', at('sigmoid'), [gate])])
    const hidden = file.node('Mul', at('gated'), [active, graph.linear(at('mlp.up_proj'), middle)])
    x = file.node('Add', at('residual_2'), [x, graph.linear(at('mlp.down_proj'), hidden)])
  }
  return graph.tiedHead(norm('norm', graph.lastToken(x)), 'embed_tokens.weight')
}

/** Cosines and sines, each (positions, D/2). */
function rotaryTables({ file, sizes: { D, positions }, config }) {
  const angles = Float64Array.from({ length: positions * (D / 2) }, (_, i) => {
    const [position, pair] = [Math.floor(i / (D / 2)), i % (D / 2)]
    return position * config.rope_theta ** ((-2 * pair) / D)
  })
  const table = (name, of) =>
    file.weight(name, 'float', { dims: [positions, D / 2], chunks: [Float32Array.from(angles, of)] })
  return [table('cosines', Math.cos), table('sines', Math.sin)]
}
