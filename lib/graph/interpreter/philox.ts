export type Words = readonly [number, number, number, number]

/**
 * Philox4x32-10: four random 32-bit words that depend on a key and a counter alone.
 *
 * Salmon, Moraes, Dror & Shaw 2011, https://doi.org/10.1145/2063384.2063405
 */
export function philox4x32(key: readonly [number, number], counter: Words): Words {
  let [x0, x1, x2, x3] = counter
  let [k0, k1] = key
  for (let round = 0; round < 10; round++) {
    const a = multiply(0xd2511f53, x0)
    const b = multiply(0xcd9e8d57, x2)
    x0 = (b.high ^ x1 ^ k0) >>> 0
    x1 = b.low
    x2 = (a.high ^ x3 ^ k1) >>> 0
    x3 = a.low
    k0 = (k0 + 0x9e3779b9) >>> 0
    k1 = (k1 + 0xbb67ae85) >>> 0
  }
  return [x0, x1, x2, x3]
}

/** Both 32-bit words of the product of two. */
function multiply(a: number, b: number): { high: number; low: number } {
  // Sums of 32 by 16 bit products stay under 2^53.
  const lower = a * (b & 0xffff)
  const upper = a * (b >>> 16) + Math.floor(lower / 0x10000)
  return { high: Math.floor(upper / 0x10000) >>> 0, low: Math.imul(a, b) >>> 0 }
}
