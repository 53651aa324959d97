import { describe, expect, it } from 'vitest'
import { erfc } from '#kvasir/graph/interpreter/erfc.js'

// The Maclaurin series, erf(x) = 2/sqrt(pi) sum_n (-1)^n x^(2n+1) / (n! (2n+1)), in fixed point with 400 bits: its
// terms grow to about e^(x^2) before they shrink, which these bits outlast up to x = 12.
const one = 1n << 400n
const piTimes1e88 = 31415926535897932384626433832795028841971693993751058209749445923078164062862089986280348n
const sqrtPi = squareRoot((piTimes1e88 * one) / 10n ** 88n)

/** By Newton's method, of a fixed-point number and in fixed point. */
function squareRoot(square: bigint): bigint {
  let root = 2n * one
  for (let i = 0; i < 20; i++) root = (root + (square * one) / root) / 2n
  return root
}

function erfcBySeries(x: number): bigint {
  const fixed = (BigInt(x * 2 ** 40) * one) >> 40n // no point of the tests has more bits
  const square = (fixed * fixed) / one
  let power = fixed
  let sum = 0n
  for (let n = 0n; power !== 0n; n++) {
    sum += (n % 2n === 0n ? power : -power) / (2n * n + 1n)
    power = (power * square) / one / (n + 1n)
  }
  return one - (2n * sum * one) / sqrtPi
}

const toNumber = (fixed: bigint) => Number((fixed * 2n ** 200n) / one) / 2 ** 200

const points = Array.from({ length: 97 }, (_, i) => i / 16 + (i % 3) / 1024)

describe('erfc', () => {
  it('agrees with its series in whole numbers', () => {
    for (const x of points) {
      const truth = toNumber(erfcBySeries(x))
      expect(Math.abs(erfc(x) - truth), `${x}`).toBeLessThan(5e-16)
      expect(Math.abs(erfc(-x) - (2 - truth)), `${-x}`).toBeLessThan(5e-16)
      expect(Math.abs(erfc(x) / truth - 1), `${x}`).toBeLessThan(1.2e-14)
    }
  })

  it('has limits', () => {
    expect([0, Infinity, -Infinity, 30, NaN].map(erfc)).toEqual([1, 0, 2, 0, NaN])
  })
})
