import { Random } from '../graph/random.js'

/** Numbers at the edges of f32: zeros, subnormals, the smallest and largest normals, infinities and NaN. */
export const extremes = Float32Array.of(
  0,
  -0,
  1,
  -1,
  1e-45,
  -1e-45,
  1.1e-38,
  1.17549435e-38,
  -1.17549435e-38,
  1e-20,
  -1e-7,
  0.3333333,
  -87.4,
  88.8,
  65504,
  -1e5,
  1e20,
  -1e30,
  3.4028235e38,
  -3.4028235e38,
  Infinity,
  -Infinity,
  NaN,
)

export type WeightType = 'f32' | 'f16' | 'bf16'
export type BlockType = 'q8' | 'q4'

const formats = {
  f32: { fractionBits: 23, smallestExponent: -126 },
  f16: { fractionBits: 10, smallestExponent: -14 },
  bf16: { fractionBits: 7, smallestExponent: -126 },
}

/** The nearest numbers of a type, ties to even. Too large ones are not expected. */
export function roundTo(type: WeightType, numbers: ArrayLike<number>): Float32Array {
  const { fractionBits, smallestExponent } = formats[type]
  return Float32Array.from(numbers, (x) => {
    if (x === 0 || !Number.isFinite(x)) return x
    const exponent = Math.max(Math.floor(Math.log2(Math.abs(x))), smallestExponent)
    const unit = 2 ** (exponent - fractionBits)
    return roundHalfEven(x / unit) * unit
  })
}

/** Keys or values, one of `size` numbers after another, as a cache of a type holds them. */
export function roundToCache(type: WeightType | 'q8', numbers: Float32Array, size: number): Float32Array {
  if (type === 'f16') {
    return roundTo(
      type,
      numbers.map((x) => (Number.isFinite(x) ? Math.min(65504, Math.max(-65504, x)) : x)),
    )
  }
  if (type !== 'q8') return roundTo(type, numbers)
  const rounded = Float32Array.from(numbers)
  for (let i = 0; i < rounded.length; i += size) {
    const vector = rounded.subarray(i, i + size)
    const scale = Math.fround(vector.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / 127)
    const inverse = scale > 0 ? Math.fround(1 / scale) : 0
    vector.forEach((x, j) => {
      vector[j] = scale * roundHalfEven(Math.fround(x * inverse))
    })
  }
  return rounded
}

/** The smallest f16 that is not below x. */
function roundUpToF16(x: number): number {
  const [nearest] = roundTo('f16', [x])
  if (nearest >= x) return nearest
  const unit = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), -14) - 10)
  return roundTo('f16', [nearest + unit])[0]
}

/**
 * Rows of `columns` numbers as a type of blocks holds them, so that it keeps them as they are: for q4 simply from the
 * least to the largest of a block.
 */
export function roundToBlocks(type: BlockType, numbers: Float32Array, columns: number): Float32Array {
  const rounded = Float32Array.from(numbers)
  for (let row = 0; row < numbers.length; row += columns) {
    for (let c = 0; c < columns; c += 32) {
      const block = rounded.subarray(row + c, row + Math.min(c + 32, columns))
      if (type === 'q4') roundToQ4(block)
      // Subnormal scales are so coarse that a block rounded once may have another.
      else while (roundToQ8(block));
    }
  }
  return rounded
}

/** Whether anything changed. */
function roundToQ8(block: Float32Array): boolean {
  const largest = block.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
  const scale = roundUpToF16(Math.fround(largest / 127))
  const inverse = scale > 0 ? Math.fround(1 / scale) : 0
  const before = Float32Array.from(block)
  block.forEach((x, i) => {
    block[i] = scale * roundHalfEven(Math.fround(x * inverse))
  })
  return block.some((x, i) => x !== before[i])
}

function roundToQ4(block: Float32Array): void {
  const min = -roundUpToF16(-Math.min(...block))
  const scale = roundUpToF16((Math.max(...block) - min) / 15)
  const places = Array.from(block, (x) =>
    scale > 0 ? Math.min(15, Math.max(0, Math.round((x - min) / scale))) : 0,
  )
  // A block's own scale is found again where both ends are taken.
  places[places.indexOf(Math.max(...places))] = scale > 0 ? 15 : 0
  places[places.indexOf(Math.min(...places))] = 0
  places.forEach((u, i) => {
    block[i] = Math.fround(scale * u) + min
  })
}

function roundHalfEven(x: number): number {
  const below = Math.floor(x)
  const rest = x - below
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1
  return below % 2 === 0 ? below : below + 1
}

/** Numbers around zero as f32, evenly spread over (-scale, scale). */
export function randomNumbers(seed: number, count: number, scale = 1): Float32Array {
  return Float32Array.from(new Random(seed).numbers(count, scale))
}

/**
 * Where two arrays of f32 first differ, for a message; '' where they are the same bit for bit. (All NaN count as one;
 * `expected` is rounded to f32.)
 */
export function difference(found: ArrayLike<number>, expected: ArrayLike<number>): string {
  if (found.length !== expected.length) return `${found.length} elements, expected ${expected.length}`
  for (let i = 0; i < expected.length; i++) {
    const wanted = Math.fround(expected[i])
    if (!Object.is(found[i], wanted)) return `element ${i}: ${found[i]}, expected ${wanted}`
  }
  return ''
}

/**
 * Mean squared error over the mean square of the truth; infinity unless infinities and NaN are in the same places.
 * Numbers that f32 rounds to infinity count as infinite.
 */
export function nmse(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) return Number.POSITIVE_INFINITY
  let error = 0
  let power = 0
  for (let i = 0; i < expected.length; i++) {
    const [x, y] = [found[i], expected[i]]
    const rounded = Math.fround(y)
    if (!Number.isFinite(rounded)) {
      if (!Object.is(x, rounded)) return Number.POSITIVE_INFINITY
      continue
    }
    error += (x - y) ** 2
    power += y ** 2
  }
  return error === 0 ? 0 : error / power
}

/**
 * The largest error in units of what `allowed` gives for each expected number, so that 1 is the most that may be;
 * infinity unless infinities and NaN are in the same places.
 */
export function worstError(
  found: ArrayLike<number>,
  expected: ArrayLike<number>,
  allowed: (expected: number, index: number) => number,
): number {
  if (found.length !== expected.length) return Number.POSITIVE_INFINITY
  let worst = 0
  for (let i = 0; i < expected.length; i++) {
    const [x, y] = [found[i], expected[i]]
    if (Number.isFinite(x) && Number.isFinite(Math.fround(y))) {
      worst = Math.max(worst, Math.abs(x - y) / allowed(y, i))
    } else if (!Object.is(x, Math.fround(y))) {
      return Number.POSITIVE_INFINITY
    }
  }
  return worst
}

/** The distance between f32 numbers of this size. */
export function ulp(x: number): number {
  return 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), -126) - 23)
}
