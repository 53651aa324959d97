import { describe, expect, it } from 'vitest'
import { linearScaling, llama3Scaling, ntkScaling, unscaled, yarnScaling } from '#kvasir/nn/index.js'

const close = (found: number, expected: number) => expect(Math.abs(found / expected - 1)).toBeLessThan(1e-13)

describe('rotary frequencies', () => {
  it('fall from 1 by a constant ratio', () => {
    const { frequencies, magnitude } = unscaled(10000, 128)
    expect(frequencies).toHaveLength(64)
    expect(frequencies[0]).toBe(1)
    for (const [i, frequency] of frequencies.entries())
      close(frequency, Math.exp((-i / 64) * Math.log(10000)))
    expect(magnitude).toBe(1)
  })

  it('linear: turn as if positions were divided', () => {
    const { frequencies, magnitude } = linearScaling(2)(10000, 8)
    for (const [i, expected] of [0.5, 0.05, 0.005, 0.0005].entries()) close(frequencies[i]!, expected)
    expect(magnitude).toBe(1)
  })

  it('ntk: the fastest stays, the slowest is divided by the factor', () => {
    const { frequencies } = ntkScaling(8)(10000, 64)
    const plain = unscaled(10000, 64).frequencies
    expect(frequencies[0]).toBe(1)
    close(frequencies[31]!, plain[31]! / 8)
    // Between them the ratio of neighbours is constant, so each is a power of the whole.
    for (const [i, frequency] of frequencies.entries()) close(frequency, plain[i]! * 8 ** (-i / 31))
    expect(ntkScaling(8)(10000, 2).frequencies).toEqual([1])
  })

  it('llama3: by wavelength', () => {
    const [factor, low, high, original] = [8, 1, 4, 8192]
    const scaling = llama3Scaling({
      factor,
      lowFreqFactor: low,
      highFreqFactor: high,
      originalMaxPositions: original,
    })
    const { frequencies, magnitude } = scaling(500000, 128)
    expect(magnitude).toBe(1)
    frequencies.forEach((frequency, i) => {
      const plain = 500000 ** (-i / 64)
      const wavelength = (2 * Math.PI) / plain
      let expected = plain
      if (wavelength > original / low) expected = plain / factor
      else if (wavelength >= original / high) {
        const smooth = (original / wavelength - low) / (high - low)
        expected = ((1 - smooth) * plain) / factor + smooth * plain
      }
      close(frequency, expected)
    })
    // Values of an implementation in numpy.
    const known = {
      1: 0.8146172338565447,
      29: 0.002166570763503359,
      32: 0.0005248461609929547,
      63: 3.068925988914511e-7,
    }
    for (const [i, expected] of Object.entries(known)) close(frequencies[Number(i)]!, expected)
  })

  it('yarn: a ramp between the frequencies of 32 turns and of 1', () => {
    const [theta, size, factor, original] = [1e6, 128, 4, 32768]
    const { frequencies, magnitude } = yarnScaling({ factor, originalMaxPositions: original })(theta, size)
    close(magnitude, 0.1 * Math.log(4) + 1)
    const first = frequencies.findIndex((frequency, i) => Math.abs(frequency * theta ** (i / 64) - 1) > 1e-12)
    const last = frequencies.findLastIndex(
      (frequency, i) => Math.abs(frequency * theta ** (i / 64) * factor - 1) > 1e-12,
    )
    const turns = (i: number) => (original * theta ** (-i / 64)) / (2 * Math.PI)
    expect(turns(first - 1)).toBeGreaterThan(32) // the ramp's start is rounded down
    expect(turns(first)).toBeLessThan(32 * theta ** (1 / 64))
    expect(turns(last + 1)).toBeLessThan(1) // its end is rounded up
    expect(turns(last)).toBeGreaterThan(theta ** (-1 / 64))
    const known = {
      23: 0.006978305848598663,
      24: 0.005375321490790102,
      30: 0.0010643609812470017,
      39: 6.490394320837029e-5,
      63: 3.102344401879299e-7,
    }
    for (const [i, expected] of Object.entries(known)) close(frequencies[Number(i)]!, expected)
  })

  it('yarn: ends of the ramp that are not rounded', () => {
    const scaling = yarnScaling({
      factor: 40,
      originalMaxPositions: 4096,
      betaFast: 16,
      betaSlow: 2,
      truncate: false,
      attentionFactor: 0.5,
    })
    const { frequencies, magnitude } = scaling(10000, 64)
    expect(magnitude).toBe(0.5)
    const known = {
      10: 0.056234132519034905,
      12: 0.03162277660168379,
      15: 0.009520860625595033,
      18: 0.001738218621832589,
      31: 3.3338035804083097e-6,
    }
    for (const [i, expected] of Object.entries(known)) close(frequencies[Number(i)]!, expected)
  })

  it('yarn: magnitude 1 where nothing is stretched', () => {
    expect(yarnScaling({ factor: 1, originalMaxPositions: 4096 })(10000, 64).magnitude).toBe(1)
  })
})

describe('wrong scalings', () => {
  it.each<[string, () => unknown]>([
    ['linearScaling: factor must be a finite number above 0, got 0', () => linearScaling(0)],
    ['ntkScaling: factor must be a finite number above 0, got NaN', () => ntkScaling(Number.NaN)],
    [
      'yarnScaling: originalMaxPositions must be an integer from 1 to 2147483647, got 0',
      () => yarnScaling({ factor: 2, originalMaxPositions: 0 }),
    ],
    [
      'llama3Scaling: highFreqFactor must be a finite number above 4, got 4',
      () => llama3Scaling({ factor: 8, lowFreqFactor: 4, highFreqFactor: 4, originalMaxPositions: 8192 }),
    ],
  ])('%s', (message, wrong) => {
    expect(wrong).toThrow(message)
  })
})
