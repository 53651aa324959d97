import { invalidValue } from '../errors.js'
import { expectInteger, expectNumber } from '../ops/check.js'

/** Frequencies of rotary positions, in radians a position, and a factor on cosines and sines. */
export interface RopeFrequencies {
  frequencies: number[]
  magnitude: number
}

/** How rotary frequencies come from `theta` and the number of channels that rotate; all of it in f64. */
export type RopeScaling = (theta: number, size: number) => RopeFrequencies

/** `frequencies[i] = theta^(-2i/size)`. Su et al. 2021, https://arxiv.org/abs/2104.09864 */
export const unscaled: RopeScaling = (theta, size) => ({
  frequencies: Array.from({ length: size / 2 }, (_, i) => 1 / theta ** ((2 * i) / size)),
  magnitude: 1,
})

/**
 * Positions divided by `factor`. Chen et al. 2023, https://arxiv.org/abs/2306.15595
 *
 * @throws {TypeError | RangeError} when factor is not above 0
 */
export function linearScaling(factor: number): RopeScaling {
  expectPositive('linearScaling', 'factor', factor)
  return (theta, size) => {
    const { frequencies, magnitude } = unscaled(theta, size)
    return { frequencies: frequencies.map((frequency) => frequency / factor), magnitude }
  }
}

/**
 * Each frequency divided by a number of its own, as GGUF files of LLaMA 3.1 and later have them.
 *
 * @throws {RangeError} when there are more or fewer of them than frequencies, or one is not above 0
 */
export function dividedFrequencies(divisors: readonly number[]): RopeScaling {
  for (const divisor of divisors) expectPositive('dividedFrequencies', 'divisor', divisor)
  return (theta, size) => {
    const { frequencies, magnitude } = unscaled(theta, size)
    if (divisors.length !== frequencies.length) {
      const expected = `${frequencies.length} numbers, one a frequency`
      throw invalidValue('dividedFrequencies: divisors', expected, divisors.length)
    }
    return { frequencies: frequencies.map((frequency, i) => frequency / divisors[i]!), magnitude }
  }
}

/**
 * NTK-aware scaling: `theta` grows by `factor^(size/(size-2))`, so that the slowest frequency falls by `factor` and
 * the fastest stays. It is the static form; the dynamic one, whose factor grows with the sequence, differs from no
 * scaling only beyond the length that a model was trained for.
 *
 * bloc97 2023, described in Peng et al. 2023, https://arxiv.org/abs/2309.00071, section 3.1
 *
 * @throws {TypeError | RangeError} when factor is not above 0
 */
export function ntkScaling(factor: number): RopeScaling {
  expectPositive('ntkScaling', 'factor', factor)
  return (theta, size) =>
    size === 2 ? unscaled(theta, size) : unscaled(theta * factor ** (size / (size - 2)), size)
}

export interface YarnOptions {
  /** How much longer than it was trained for the context is. */
  factor: number
  /** Positions that the model was trained for. */
  originalMaxPositions: number
  /** Turns within those positions above which a frequency stays as it is; 32 by default. */
  betaFast?: number
  /** Turns below which a frequency is divided by factor; 1 by default. */
  betaSlow?: number
  /** Factor on cosines and sines; 0.1 ln(factor) + 1 by default, 1 where factor is at most 1. */
  attentionFactor?: number
  /** Whether the ramp's ends are rounded to whole indices; true by default. */
  truncate?: boolean
}

/**
 * YaRN: fast frequencies stay, slow ones are divided by `factor`, between them a ramp.
 *
 * Peng et al. 2023, https://arxiv.org/abs/2309.00071
 *
 * @throws {TypeError | RangeError} when a number is not above 0, or the positions are not an integer
 */
export function yarnScaling(options: YarnOptions): RopeScaling {
  const { factor, originalMaxPositions, betaFast = 32, betaSlow = 1, truncate = true } = options
  const { attentionFactor = yarnMagnitude(factor) } = options
  for (const [name, value] of Object.entries({ factor, betaFast, betaSlow, attentionFactor }))
    expectPositive('yarnScaling', name, value)
  expectInteger('yarnScaling', 'originalMaxPositions', originalMaxPositions, 1, 2 ** 31 - 1)
  return (theta, size) => {
    // The index, as a fraction, of the frequency that makes so many turns.
    const indexOf = (turns: number) =>
      (size * Math.log(originalMaxPositions / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
    const [fast, slow] = [indexOf(betaFast), indexOf(betaSlow)]
    const low = Math.max(truncate ? Math.floor(fast) : fast, 0)
    const high = Math.min(truncate ? Math.ceil(slow) : slow, size - 1)
    const frequencies = unscaled(theta, size).frequencies.map((frequency, i) => {
      const ramp = clamp((i - low) / (high - low || 0.001), 0, 1)
      return (frequency / factor) * ramp + frequency * (1 - ramp)
    })
    return { frequencies, magnitude: attentionFactor }
  }
}

/** `0.1 mscale ln(factor) + 1`; 1 where nothing is stretched. */
export function yarnMagnitude(factor: number, mscale = 1): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1
}

export interface LongRopeOptions {
  /** What each frequency is divided by where contexts are no longer than those that the model was trained for. */
  shortFactors: readonly number[]
  /** And where they may be longer. */
  longFactors: readonly number[]
  /** Whether they may be. */
  isLong: boolean
  /** Factor on cosines and sines. */
  attentionFactor: number
}

/**
 * LongRoPE: each frequency is divided by a number of its own, found by search; one list for short contexts, one for
 * long ones. All positions of a sequence must be rotated alike, so the choice is made once, by the longest context.
 *
 * Ding et al. 2024, https://arxiv.org/abs/2402.13753
 *
 * @throws {TypeError | RangeError} when a number is not above 0, or there are more or fewer factors than frequencies
 */
export function longRopeScaling(options: LongRopeOptions): RopeScaling {
  const { shortFactors, longFactors, isLong, attentionFactor } = options
  expectPositive('longRopeScaling', 'attentionFactor', attentionFactor)
  const divided = dividedFrequencies(isLong ? longFactors : shortFactors)
  return (theta, size) => ({ ...divided(theta, size), magnitude: attentionFactor })
}

/** `sqrt(1 + ln(factor) / ln(originalMaxPositions))`; 1 where nothing is stretched. */
export function longRopeMagnitude(factor: number, originalMaxPositions: number): number {
  return factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalMaxPositions))
}

export interface Llama3Options {
  /** What slow frequencies are divided by. */
  factor: number
  /** Turns within the original positions below which a frequency is slow. */
  lowFreqFactor: number
  /** Turns above which a frequency stays as it is. */
  highFreqFactor: number
  /** Positions that the model was first trained for. */
  originalMaxPositions: number
}

/**
 * LLaMA 3.1's scaling: frequencies of more than `highFreqFactor` turns within the original positions stay, those of
 * fewer than `lowFreqFactor` are divided by `factor`, between them a blend.
 *
 * Grattafiori et al. 2024, https://arxiv.org/abs/2407.21783
 *
 * @throws {TypeError | RangeError} when a number is not above 0, or the two thresholds are not in order
 */
export function llama3Scaling(options: Llama3Options): RopeScaling {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositions } = options
  expectPositive('llama3Scaling', 'factor', factor)
  expectPositive('llama3Scaling', 'lowFreqFactor', lowFreqFactor)
  expectNumber('llama3Scaling', 'highFreqFactor', highFreqFactor, { above: lowFreqFactor })
  expectInteger('llama3Scaling', 'originalMaxPositions', originalMaxPositions, 1, 2 ** 31 - 1)
  return (theta, size) => {
    const { frequencies, magnitude } = unscaled(theta, size)
    const scaled = frequencies.map((frequency) => {
      const turns = (originalMaxPositions * frequency) / (2 * Math.PI)
      const kept = clamp((turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor), 0, 1)
      return (1 - kept) * (frequency / factor) + kept * frequency
    })
    return { frequencies: scaled, magnitude }
  }
}

function expectPositive(where: string, argument: string, value: number): void {
  expectNumber(where, argument, value, { above: 0 })
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), max)
}
