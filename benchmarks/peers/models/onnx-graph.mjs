// The parts that decoders have in common as ONNX nodes.
//
// Attention is one node, GroupQueryAttention, as in exports made for serving. Made of plain products and a softmax it was
// as fast, within 5 % in prefill and in decode of GPT-2's shape. transformers.js finds out the cache's shape by the name of
// the batch's dimension.
import { encodeNBits } from './number-formats.mjs'

const microsoft = 'com.microsoft'
const blockSize = 32
/** An element type's number, as Cast takes it. */
const int32 = 6

export class OnnxGraph {
  constructor(file, { checkpoint, type, sizes }) {
    Object.assign(this, { file, checkpoint, type, sizes })
    this.config = checkpoint.config
    this.ids = file.input('input_ids', 'int64', ['batch_size', 'sequence_length'])
    const mask = file.input('attention_mask', 'int64', ['batch_size', 'total_sequence_length'])
    const axis = file.constant('axis_1', 'int64', { dims: [1], values: [1] })
    const one = file.constant('one', 'int32', { dims: [], values: [1] })
    // How many tokens there are with this step's, and the same less one, for each sequence of the batch.
    const sums = file.node('ReduceSum', 'mask_sums', [mask, axis], { attributes: { keepdims: { int: 0 } } })
    const counts = this.cast('mask_counts', sums, int32)
    this.lastPositions = file.node('Sub', 'last_positions', [counts, one])
    this.totalTokens = this.cast('total_tokens_i32', this.dimension('total_tokens_i64', mask), int32)
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
