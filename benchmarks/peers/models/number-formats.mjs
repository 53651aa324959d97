// How numbers are stored in GGUF and ONNX files, from the formats' published formulas.

const float = new Float32Array(1)
const floatBits = new Uint32Array(float.buffer)

/** The bits of the nearest f16, ties to even. */
export function halfBits(value) {
  float[0] = value
  return halfOfBits(floatBits[0])
}

/** Of the bits of an f32. */
function halfOfBits(bits) {
  const sign = (bits >>> 16) & 0x8000
  const size = bits & 0x7fffffff
  if (size >= 0x47800000) return sign | (size > 0x7f800000 ? 0x7e00 : 0x7c00)
  // Below the least normal f16, the number is a multiple of 2^-24.
  if (size < 0x38800000) {
    floatBits[0] = size
    return sign | roundToEven(float[0] * 2 ** 24)
  }
  // Rounding carries into the exponent, up to infinity.
  return sign | ((size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13)
}

export function halfValue(bits) {
  const fraction = bits & 0x3ff
  const exponent = (bits >> 10) & 31
  const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25)
  return bits & 0x8000 ? -size : size
}

function roundToEven(value) {
  const below = Math.floor(value)
  const rest = value - below
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below
}

function encodeF32(values) {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
}

function encodeF16(values) {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const halves = new Uint16Array(values.length)
  for (let i = 0; i < bits.length; i++) halves[i] = halfOfBits(bits[i])
  return new Uint8Array(halves.buffer)
}

/** Blocks of 32: a scale in f16, and 32 numbers of 8 bits. */
function encodeQ8(values) {
  const blocks = values.length / 32
  const bytes = new Uint8Array(blocks * 34)
  for (let block = 0; block < blocks; block++) {
    const from = 32 * block
    const scale = Math.abs(largest(values, from)) / 127
    writeHalf(bytes, 34 * block, scale)
    for (let i = 0; i < 32; i++)
      bytes[34 * block + 2 + i] = scale === 0 ? 0 : Math.round(values[from + i] / scale)
  }
  return bytes
}

/** Blocks of 32: a scale in f16, and 32 numbers of 4 bits, of which the first 16 are the low halves of the bytes. */
function encodeQ4(values) {
  const blocks = values.length / 32
  const bytes = new Uint8Array(blocks * 18)
  for (let block = 0; block < blocks; block++) {
    const from = 32 * block
    const scale = largest(values, from) / -8
    writeHalf(bytes, 18 * block, scale)
    for (let i = 0; i < 16; i++)
      bytes[18 * block + 2 + i] =
        fourBits(values[from + i], scale) | (fourBits(values[from + 16 + i], scale) << 4)
  }
  return bytes
}

/** What MatMulNBits takes: the scales in f32, and numbers of 4 bits, neighbours in one byte. */
export function encodeNBits(values) {
  const blocks = values.length / 32
  const scales = new Float32Array(blocks)
  const numbers = new Uint8Array(blocks * 16)
  for (let block = 0; block < blocks; block++) {
    const from = 32 * block
    const scale = largest(values, from) / -8
    scales[block] = scale
    for (let i = 0; i < 16; i++)
      numbers[16 * block + i] =
        fourBits(values[from + 2 * i], scale) | (fourBits(values[from + 2 * i + 1], scale) << 4)
  }
  return { scales, numbers }
}

/** Of 32 numbers the one furthest from zero, with its sign: as -8 it uses the range's longer side. */
function largest(values, from) {
  let found = 0
  for (let i = from; i < from + 32; i++) if (Math.abs(values[i]) > Math.abs(found)) found = values[i]
  return found
}

/** A number from 0 to 15, of which 8 stands for zero. */
function fourBits(value, scale) {
  return scale === 0 ? 8 : Math.min(15, Math.floor(value / scale + 8.5))
}

function writeHalf(bytes, at, value) {
  const bits = halfBits(value)
  bytes[at] = bits & 255
  bytes[at + 1] = bits >> 8
}

/** GGUF's types: numbers and bytes a block, the tensor's type in the file, and `general.file_type`. */
export const ggufTypes = {
  f32: { id: 0, fileType: 0, numbers: 1, bytes: 4, encode: encodeF32 },
  f16: { id: 1, fileType: 1, numbers: 1, bytes: 2, encode: encodeF16 },
  q8_0: { id: 8, fileType: 7, numbers: 32, bytes: 34, encode: encodeQ8 },
  q4_0: { id: 2, fileType: 2, numbers: 32, bytes: 18, encode: encodeQ4 },
}
