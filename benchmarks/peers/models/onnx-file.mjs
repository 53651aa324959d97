// Builds an ONNX graph node by node, and writes it with its weights in a file beside it, streamed.
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { basename } from 'node:path'
import { bytes, float, integer } from './protobuf.mjs'

const elementTypes = { float: 1, uint8: 2, int32: 6, int64: 7 }
const elementBytes = { float: 4, uint8: 1, int32: 4, int64: 8 }
const attributeTypes = { float: 1, int: 2, ints: 7 }
const externalData = 1
/** Where tensors start in the data file: pages, so that it can be mapped. */
const alignment = 4096

export class OnnxFile {
  #nodes = []
  #initializers = []
  #inputs = []
  #outputs = []
  #dataFile
  #dataName
  #dataBytes = 0
  #path

  constructor(path) {
    this.#path = path
    this.#dataName = `${basename(path)}_data`
    this.#dataFile = openSync(`${path}_data`, 'w')
  }

  /** A dimension is a number, or the name of one that varies. */
  input(name, type, dims) {
    this.#inputs.push(bytes(11, valueInfo(name, type, dims)))
    return name
  }

  output(name, type, dims) {
    this.#outputs.push(bytes(12, valueInfo(name, type, dims)))
  }

  /** A weight, from arrays that follow one another in the file. */
  weight(name, type, { dims, chunks }) {
    this.#dataBytes = Math.ceil(this.#dataBytes / alignment) * alignment
    const offset = this.#dataBytes
    for (const chunk of chunks) {
      const part = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      writeSync(this.#dataFile, part, 0, part.length, this.#dataBytes)
      this.#dataBytes += part.length
    }
    const expected = dims.reduce((a, b) => a * b) * elementBytes[type]
    const length = this.#dataBytes - offset
    if (length !== expected) throw new Error(`${name}: ${expected} bytes were expected, got ${length}`)
    const place = Object.entries({ location: this.#dataName, offset, length })
    const where = place.map(([key, value]) => bytes(13, bytes(1, key), bytes(2, String(value))))
    this.#initializers.push(bytes(5, tensorHead(name, type, dims), where, integer(14, externalData)))
    return name
  }

  /** A small tensor of whole numbers, within the graph. */
  constant(name, type, { dims, values }) {
    const array = type === 'int32' ? Int32Array.from(values) : BigInt64Array.from(values, BigInt)
    this.#initializers.push(bytes(5, tensorHead(name, type, dims), bytes(9, Buffer.from(array.buffer))))
    return name
  }

  /** Adds a node and returns its first output, which bears the node's name. `''` is an input left out. */
  node(op, name, inputs, { outputs = [name], domain = '', attributes = {} } = {}) {
    this.#nodes.push(
      bytes(
        1,
        inputs.map((input) => bytes(1, input)),
        outputs.map((output) => bytes(2, output)),
        bytes(3, `${name}.node`),
        bytes(4, op),
        Object.entries(attributes).map(([key, value]) => bytes(5, attribute(key, value))),
        bytes(7, domain),
      ),
    )
    return outputs[0]
  }

  /** Writes the graph; the weights are in their file already. */
  finish() {
    closeSync(this.#dataFile)
    const graph = [this.#nodes, bytes(2, 'model'), this.#initializers, this.#inputs, this.#outputs]
    const model = [
      integer(1, 8), // IR version
      bytes(2, 'kvasir benchmark'),
      bytes(7, ...graph),
      bytes(8, bytes(1, ''), integer(2, 17)),
      bytes(8, bytes(1, 'com.microsoft'), integer(2, 1)),
    ]
    writeFileSync(this.#path, Buffer.concat(model))
  }
}

function tensorHead(name, type, dims) {
  return Buffer.concat([
    ...dims.map((dim) => integer(1, dim)),
    integer(2, elementTypes[type]),
    bytes(8, name),
  ])
}

function valueInfo(name, type, dims) {
  const shape = dims.map((dim) => bytes(1, typeof dim === 'number' ? integer(1, dim) : bytes(2, dim)))
  return Buffer.concat([
    bytes(1, name),
    bytes(2, bytes(1, integer(1, elementTypes[type]), bytes(2, ...shape))),
  ])
}

/** `{ int: 1 }`, `{ float: 0.5 }` or `{ ints: [1, 2] }`. */
function attribute(name, value) {
  const [[type, given]] = Object.entries(value)
  const encoded = {
    float: () => [float(2, given)],
    int: () => [integer(3, given)],
    ints: () => given.map((one) => integer(8, one)),
  }
  return Buffer.concat([bytes(1, name), ...encoded[type](), integer(20, attributeTypes[type])])
}
