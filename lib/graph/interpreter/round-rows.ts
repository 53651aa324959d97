const blockColumns = 32

/**
 * Rows of K numbers as the CPU's kernels read them beside weights in blocks: each block of 32 columns as whole multiples,
 * from -127 to 127, of its largest magnitude / 127. The scale and its inverse are f32, as are the numbers. Blocks below
 * 2^-100 are zeros, and those with a number that is not finite are NaN.
 */
export function roundRows(numbers: Float64Array, K: number): Float64Array {
  const rounded = Float64Array.from(numbers)
  for (let row = 0; row < numbers.length; row += K) {
    for (let k = 0; k < K; k += blockColumns) {
      roundBlock(rounded.subarray(row + k, row + Math.min(k + blockColumns, K)))
    }
  }
  return rounded
}

function roundBlock(block: Float64Array): void {
  const largest = Math.fround(block.reduce((most, x) => Math.max(most, Math.abs(x)), 0))
  if (largest < 2 ** -100) {
    block.fill(0)
    return
  }
  if (!Number.isFinite(largest)) {
    block.fill(Number.NaN)
    return
  }
  const scale = Math.fround(largest / 127)
  const inverse = Math.fround(127 / largest)
  block.forEach((x, i) => {
    const place = roundHalfEven(Math.fround(Math.fround(x) * inverse))
    block[i] = scale * Math.min(127, Math.max(-127, place))
  })
}

function roundHalfEven(x: number): number {
  // Between 2^52 and 2^53 neighbours differ by one.
  const magic = 1.5 * 2 ** 52
  return x + magic - magic
}

const float = new Float32Array(1)
const bits = new Uint32Array(float.buffer)

/** A number rounded to f32 and then to bf16, to nearest with ties to even; what is below 2^-126 is zero. */
export function roundToBF16(x: number): number {
  float[0] = x
  if (!(Math.abs(float[0]) >= 2 ** -126)) return Number.isNaN(x) ? x : 0 * x
  if (Number.isFinite(float[0])) bits[0] = (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) & 0xffff0000
  return float[0]
}
