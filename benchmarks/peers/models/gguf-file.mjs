// Writes GGUF files (version 3), tensor data streamed.
import { closeSync, openSync, writeSync } from 'node:fs'
import { ggufTypes } from './number-formats.mjs'

const alignment = 32
const valueTypes = { u32: 4, i32: 5, f32: 6, string: 8, array: 9 }

const encodeValue = {
  u32: (value) => fixed(4, (bytes) => bytes.writeUInt32LE(value)),
  i32: (value) => fixed(4, (bytes) => bytes.writeInt32LE(value)),
  u64: (value) => fixed(8, (bytes) => bytes.writeBigUInt64LE(BigInt(value))),
  f32: (value) => fixed(4, (bytes) => bytes.writeFloatLE(value)),
  string(value) {
    const bytes = Buffer.from(value)
    return Buffer.concat([encodeValue.u64(bytes.length), bytes])
  },
  array({ type, elements }) {
    const head = [encodeValue.u32(valueTypes[type]), encodeValue.u64(elements.length)]
    return Buffer.concat([...head, ...elements.map(encodeValue[type])])
  },
}

function fixed(size, write) {
  const bytes = Buffer.alloc(size)
  write(bytes)
  return bytes
}

/**
 * @param {string} path
 * @param {{
 *   values: [key: string, type: string, value: unknown][],
 *   tensors: { name: string, shape: number[], type: string, chunks: () => Iterable<Float32Array> }[],
 * }} contents shapes are (out, in)
 */
export function writeGguf(path, { values, tensors }) {
  const placed = place(tensors)
  const header = Buffer.concat([
    Buffer.from('GGUF'),
    encodeValue.u32(3),
    encodeValue.u64(tensors.length),
    encodeValue.u64(values.length),
    ...values.flatMap(([key, type, value]) => [
      encodeValue.string(key),
      encodeValue.u32(valueTypes[type]),
      encodeValue[type](value),
    ]),
    ...placed.map(tensorInfo),
  ])
  const file = openSync(path, 'w')
  try {
    writeSync(file, header)
    const dataStart = padded(header.length)
    for (const tensor of placed) writeTensor(file, dataStart, tensor)
  } finally {
    closeSync(file)
  }
}

const padded = (size) => Math.ceil(size / alignment) * alignment

function place(tensors) {
  let offset = 0
  return tensors.map((tensor) => {
    const { numbers, bytes } = ggufTypes[tensor.type]
    const size = (tensor.shape.reduce((a, b) => a * b) / numbers) * bytes
    const placed = { ...tensor, offset }
    offset += padded(size)
    return placed
  })
}

function tensorInfo({ name, shape, type, offset }) {
  return Buffer.concat([
    encodeValue.string(name),
    encodeValue.u32(shape.length),
    ...shape.toReversed().map(encodeValue.u64), // the fastest dimension first
    encodeValue.u32(ggufTypes[type].id),
    encodeValue.u64(offset),
  ])
}

function writeTensor(file, dataStart, { type, offset, chunks }) {
  let at = dataStart + offset
  for (const values of chunks()) {
    const bytes = ggufTypes[type].encode(values)
    writeSync(file, bytes, 0, bytes.length, at)
    at += bytes.length
  }
  // The last tensor is padded like the others.
  if (at % alignment !== 0) writeSync(file, new Uint8Array(padded(at) - at), 0, padded(at) - at, at)
}
