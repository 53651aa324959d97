// GGUF's block formats once more, number by number from the formats' descriptions: bit fields are cut out of the block as
// one long integer, sums and products are rounded to f32 one by one. For comparison with the native readers.

const f32 = Math.fround
const mul = (a: number, b: number) => f32(a * b)
const add = (a: number, b: number) => f32(a + b)

/** `count` bits from bit `from` on, counted from the lowest of byte `start`. */
function bits(block: Uint8Array, start: number, from: number, count: number): number {
  let value = 0
  for (let i = 0; i < count; i++) {
    const at = from + i
    value += ((block[start + (at >> 3)]! >> (at & 7)) & 1) * 2 ** i
  }
  return value
}

function half(block: Uint8Array, at: number): number {
  const [fraction, exponent, sign] = [bits(block, at, 0, 10), bits(block, at, 10, 5), bits(block, at, 15, 1)]
  const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25)
  return sign === 1 ? -size : size
}

const int8 = (block: Uint8Array, at: number) => (block[at]! ^ 128) - 128
/** Number i of 32 whose low nibbles are the first half. */
const nibble32 = (block: Uint8Array, start: number, i: number) =>
  bits(block, start + (i % 16), i < 16 ? 0 : 4, 4)

/** Six-bit scale and minimum of group g in the twelve bytes of Q4_K and Q5_K. */
function scaleAndMin(block: Uint8Array, start: number, g: number): [number, number] {
  if (g < 4) return [bits(block, start + g, 0, 6), bits(block, start + 4 + g, 0, 6)]
  const byte = start + 4 + g
  return [
    bits(block, byte, 0, 4) + 16 * bits(block, start + g - 4, 6, 2),
    bits(block, byte, 4, 4) + 16 * bits(block, start + g, 6, 2),
  ]
}

const iq4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]
const e2m1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]

interface Format {
  id: number
  numbers: number
  bytes: number
  /** Where scales of 16 bits are, which must be finite. */
  halves: number[]
  value(block: Uint8Array, i: number): number
}

export const formats: Record<string, Format> = {
  Q4_0: {
    id: 2,
    numbers: 32,
    bytes: 18,
    halves: [0],
    value: (b, i) => mul(nibble32(b, 2, i) - 8, half(b, 0)),
  },
  Q4_1: {
    id: 3,
    numbers: 32,
    bytes: 20,
    halves: [0, 2],
    value: (b, i) => add(mul(nibble32(b, 4, i), half(b, 0)), half(b, 2)),
  },
  Q5_0: {
    id: 6,
    numbers: 32,
    bytes: 22,
    halves: [0],
    value: (b, i) => mul(nibble32(b, 6, i) + 16 * bits(b, 2, i, 1) - 16, half(b, 0)),
  },
  Q5_1: {
    id: 7,
    numbers: 32,
    bytes: 24,
    halves: [0, 2],
    value: (b, i) => add(mul(nibble32(b, 8, i) + 16 * bits(b, 4, i, 1), half(b, 0)), half(b, 2)),
  },
  Q8_0: { id: 8, numbers: 32, bytes: 34, halves: [0], value: (b, i) => mul(int8(b, 2 + i), half(b, 0)) },
  Q2_K: {
    id: 10,
    numbers: 256,
    bytes: 84,
    halves: [80, 82],
    value(b, i) {
      const group = Math.floor(i / 16)
      const quarter = bits(b, 16 + 32 * Math.floor(i / 128) + (i % 32), 2 * (Math.floor(i / 32) % 4), 2)
      const scale = mul(half(b, 80), bits(b, group, 0, 4))
      return add(mul(scale, quarter), -mul(half(b, 82), bits(b, group, 4, 4)))
    },
  },
  Q3_K: {
    id: 11,
    numbers: 256,
    bytes: 110,
    halves: [108],
    value(b, i) {
      const group = Math.floor(i / 16)
      const quarter = bits(b, 32 + 32 * Math.floor(i / 128) + (i % 32), 2 * (Math.floor(i / 32) % 4), 2)
      const third = bits(b, i % 32, Math.floor(i / 32), 1)
      const low = bits(b, 96 + (group % 8), group < 8 ? 0 : 4, 4)
      const high = bits(b, 104 + (group % 4), 2 * Math.floor(group / 4), 2)
      return mul(mul(half(b, 108), low + 16 * high - 32), quarter + 4 * third - 4)
    },
  },
  Q4_K: {
    id: 12,
    numbers: 256,
    bytes: 144,
    halves: [0, 2],
    value(b, i) {
      const group = Math.floor(i / 32)
      const [scale, min] = scaleAndMin(b, 4, group)
      const q = bits(b, 16 + 32 * Math.floor(i / 64) + (i % 32), 4 * (group % 2), 4)
      return add(mul(mul(half(b, 0), scale), q), -mul(half(b, 2), min))
    },
  },
  Q5_K: {
    id: 13,
    numbers: 256,
    bytes: 176,
    halves: [0, 2],
    value(b, i) {
      const group = Math.floor(i / 32)
      const [scale, min] = scaleAndMin(b, 4, group)
      const q =
        bits(b, 48 + 32 * Math.floor(i / 64) + (i % 32), 4 * (group % 2), 4) +
        16 * bits(b, 16 + (i % 32), group, 1)
      return add(mul(mul(half(b, 0), scale), q), -mul(half(b, 2), min))
    },
  },
  Q6_K: {
    id: 14,
    numbers: 256,
    bytes: 210,
    halves: [208],
    value(b, i) {
      const [part, column] = [Math.floor(i / 32), i % 32]
      const [first, quarter] = [Math.floor(part / 4), part % 4]
      const low = bits(b, 64 * first + 32 * (quarter % 2) + column, quarter < 2 ? 0 : 4, 4)
      const high = bits(b, 128 + 32 * first + column, 2 * quarter, 2)
      return mul(mul(half(b, 208), int8(b, 192 + Math.floor(i / 16))), low + 16 * high - 32)
    },
  },
  IQ4_NL: {
    id: 20,
    numbers: 32,
    bytes: 18,
    halves: [0],
    value: (b, i) => mul(half(b, 0), iq4[nibble32(b, 2, i)]!),
  },
  IQ4_XS: {
    id: 23,
    numbers: 256,
    bytes: 136,
    halves: [0],
    value(b, i) {
      const group = Math.floor(i / 32)
      const scale = bits(b, 4, 4 * group, 4) + 16 * bits(b, 2, 2 * group, 2) - 32
      return mul(mul(half(b, 0), scale), iq4[nibble32(b, 8 + 16 * group, i % 32)]!)
    },
  },
  MXFP4: {
    id: 39,
    numbers: 32,
    bytes: 17,
    halves: [],
    value(b, i) {
      const q = nibble32(b, 1, i)
      return f32((q < 8 ? 1 : -1) * e2m1[q % 8]! * 2 ** (b[0]! - 127))
    },
  },
}
