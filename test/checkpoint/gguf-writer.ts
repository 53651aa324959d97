import { writeFileSync } from 'node:fs'

// GGUF files to be read and spoilt, written from the format's description alone.

export const valueTypes = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const
export type ValueType = keyof typeof valueTypes

/** `[key, type, value]`; arrays as `[key, 'array', [element type, elements]]`. */
export type Value = [key: string, type: ValueType | number, value: unknown]

export interface Tensor {
  name: string
  /** As in the file: the fastest first. */
  dims: (number | bigint)[]
  type: number
  data: Uint8Array
  /** Where something else is to be written than what is right. */
  offset?: number | bigint
}

export interface Contents {
  values: Value[]
  tensors: Tensor[]
  magic?: string
  version?: number
  alignment?: number
  counts?: [tensors: bigint, values: bigint]
}

export function number(type: ValueType, value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8)
  const write: Record<string, () => number> = {
    u8: () => bytes.writeUInt8(Number(value)),
    i8: () => bytes.writeInt8(Number(value)),
    u16: () => bytes.writeUInt16LE(Number(value)),
    i16: () => bytes.writeInt16LE(Number(value)),
    u32: () => bytes.writeUInt32LE(Number(value)),
    i32: () => bytes.writeInt32LE(Number(value)),
    f32: () => bytes.writeFloatLE(Number(value)),
    bool: () => bytes.writeUInt8(Number(value)),
    u64: () => bytes.writeBigUInt64LE(BigInt(value)),
    i64: () => bytes.writeBigInt64LE(BigInt(value)),
    f64: () => bytes.writeDoubleLE(Number(value)),
  }
  return bytes.subarray(0, write[type]!())
}

export function text(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as string)
  return Buffer.concat([number('u64', bytes.length), bytes])
}

function encode(type: ValueType, value: unknown): Buffer {
  if (Buffer.isBuffer(value)) return value
  if (type === 'string') return text(value as string)
  if (type !== 'array') return number(type, value as number)
  const [element, elements] = value as [ValueType, unknown[]]
  return Buffer.concat([
    number('u32', valueTypes[element]),
    number('u64', elements.length),
    ...elements.map((one) => encode(element, one)),
  ])
}

function encodeValue([key, type, value]: Value): Buffer {
  if (typeof type === 'number') return Buffer.concat([text(key), number('u32', type), value as Buffer])
  return Buffer.concat([text(key), number('u32', valueTypes[type]), encode(type, value)])
}

/** A file's bytes. */
export function gguf({
  values,
  tensors,
  magic = 'GGUF',
  version = 3,
  alignment = 32,
  counts,
}: Contents): Buffer {
  const padded = (size: number) => Math.ceil(size / alignment) * alignment
  const [numTensors, numValues] = counts ?? [BigInt(tensors.length), BigInt(values.length)]
  let offset = 0
  const infos = tensors.map(({ name, dims, type, data, offset: given }) => {
    const info = Buffer.concat([
      text(name),
      number('u32', dims.length),
      ...dims.map((dim) => number('u64', dim)),
      number('u32', type),
      number('u64', given ?? offset),
    ])
    offset += padded(data.length)
    return info
  })
  const header = Buffer.concat([
    Buffer.from(magic),
    number('u32', version),
    number('u64', numTensors),
    number('u64', numValues),
    ...values.map(encodeValue),
    ...infos,
  ])
  const pad = (bytes: Uint8Array) => Buffer.concat([bytes, Buffer.alloc(padded(bytes.length) - bytes.length)])
  return Buffer.concat([pad(header), ...tensors.map(({ data }) => pad(data))])
}

export function writeGguf(path: string, contents: Contents): string {
  writeFileSync(path, gguf(contents))
  return path
}
