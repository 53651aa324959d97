import type { RopeScaling } from '../nn/rope-scaling.js'
import {
  dividedFrequencies,
  linearScaling,
  llama3Scaling,
  longRopeMagnitude,
  longRopeScaling,
  ntkScaling,
  unscaled,
  yarnMagnitude,
  yarnScaling,
} from '../nn/rope-scaling.js'
import type { RotaryOptions } from '../nn/rotary.js'
import { rotatedChannels } from '../nn/rotary.js'
import { boolean, integer, limits, malformed, number, oneOf, readFields } from './config.js'

type Json = Record<string, unknown>

/** What a scaling is read from. */
interface Source {
  parameters: Json
  /** The field that holds them, for messages: `rope_scaling.`. */
  parent: string
  /** Positions that the model has, and those it was first trained for. */
  maxPositions: number
  originalMaxPositions: number
  /** Channels of a head that rotate. */
  rotated: number
  /** The most positions of a sequence. */
  contextLength: number
}

/** What the parameters are read beside. */
export interface RopeReading {
  maxPositions: number
  headSize: number
  /** The most positions of a sequence, where that is fewer. */
  contextLength?: number
  /** Base of the frequencies where the file names none; 10000 by default. */
  theta?: number
  /** Share of a head's channels that rotate where the file names none; 1 by default. */
  partial?: number
}

/** How each `rope_type` is read. */
const scalings: Record<string, (source: Source) => RopeScaling> = {
  default: () => unscaled,
  linear: ({ parameters, parent }) =>
    linearScaling(readFields(parameters, { factor: number() }, parent).factor),
  ntk: ({ parameters, parent }) => ntkScaling(readFields(parameters, { factor: number() }, parent).factor),
  // Its factor grows once a sequence is longer than max_position_embeddings, which no sequence here is.
  dynamic: () => unscaled,
  yarn: readYarn,
  llama3: readLlama3,
  longrope: readLongRope,
}

/**
 * The rotary positions of a config.json: its `rope_parameters`, as transformers 5 writes them, or `rope_theta` and
 * `rope_scaling`, as was usual before. The formulas are with each scaling in `nn/rope-scaling.ts`.
 *
 * @throws {CheckpointError} naming the field that is malformed or of a type that is not known
 */
export function readRopeParameters(json: Json, options: RopeReading): RotaryOptions {
  const { maxPositions, headSize } = options
  const name = json.rope_parameters == null ? 'rope_scaling' : 'rope_parameters'
  const parameters = readObject(json, name)
  const { rope_theta: theta, partial_rotary_factor: partial } = readFields(
    { ...json, ...parameters },
    { rope_theta: number(options.theta ?? 10000, 2), partial_rotary_factor: number(options.partial ?? 1) },
  )
  if (partial > 1) throw malformed('partial_rotary_factor', 'a number from 0 to 1', partial)
  const rotated = rotatedChannels(headSize, partial)
  checkRotated(rotated, headSize, 'head_dim')
  const type = oneOf(scalings, 'default')(
    parameters.rope_type ?? parameters.type ?? undefined,
    `${name}.rope_type`,
  )
  const original = { original_max_position_embeddings: integer(limits.positions, maxPositions) }
  const { original_max_position_embeddings: originalMaxPositions } = readFields(
    { ...parameters, ...json },
    original,
  )
  const { contextLength = maxPositions } = options
  const source = {
    parameters,
    parent: `${name}.`,
    maxPositions,
    originalMaxPositions,
    rotated,
    contextLength,
  }
  const scaling =
    json.rope_frequency_divisors == null ? scalings[type]!(source) : readDivisors(json, rotated / 2)
  return { theta, scaling, partial }
}

/** @throws {CheckpointError} when an odd number of a head's channels would rotate, or none */
export function checkRotated(rotated: number, found: number, field: string): void {
  if (rotated === 0 || rotated % 2 !== 0)
    throw malformed(field, 'such that a positive even number of its channels rotates', found)
}

function readObject(json: Json, name: string): Json {
  const value = json[name] ?? {}
  if (typeof value !== 'object' || Array.isArray(value)) throw malformed(name, 'an object', value)
  return value as Json
}

/** Not of a config.json: what becomes of a GGUF file's tensor. */
function readDivisors(json: Json, count: number): RopeScaling {
  return dividedFrequencies(readFactors(json.rope_frequency_divisors, count, 'rope_frequency_divisors'))
}

function readFactors(value: unknown, count: number, field: string): number[] {
  const isList =
    Array.isArray(value) && value.length === count && value.every((x) => Number.isFinite(x) && x > 0)
  if (!isList) throw malformed(field, `a list of ${count} numbers above 0`, value)
  return value
}

function readYarn({ parameters, parent, maxPositions, originalMaxPositions }: Source): RopeScaling {
  const fields = {
    factor: number(maxPositions / originalMaxPositions),
    beta_fast: number(32),
    beta_slow: number(1),
    attention_factor: number(null),
    mscale: number(null),
    mscale_all_dim: number(null),
    truncate: boolean(true),
  }
  const { factor, beta_fast, beta_slow, attention_factor, mscale, mscale_all_dim, truncate } = readFields(
    parameters,
    fields,
    parent,
  )
  const magnitude =
    mscale && mscale_all_dim
      ? yarnMagnitude(factor, mscale) / yarnMagnitude(factor, mscale_all_dim)
      : yarnMagnitude(factor)
  return yarnScaling({
    factor,
    originalMaxPositions,
    betaFast: beta_fast,
    betaSlow: beta_slow,
    attentionFactor: attention_factor ?? magnitude,
    truncate,
  })
}

function readLongRope(source: Source): RopeScaling {
  const { parameters, parent, maxPositions, originalMaxPositions, rotated, contextLength } = source
  const fields = { factor: number(maxPositions / originalMaxPositions), attention_factor: number(null) }
  const { factor, attention_factor } = readFields(parameters, fields, parent)
  const factors = (name: string) => readFactors(parameters[name], rotated / 2, parent + name)
  return longRopeScaling({
    shortFactors: factors('short_factor'),
    longFactors: factors('long_factor'),
    isLong: Math.min(contextLength, maxPositions) > originalMaxPositions,
    attentionFactor: attention_factor ?? longRopeMagnitude(factor, originalMaxPositions),
  })
}

function readLlama3({ parameters, parent, originalMaxPositions }: Source): RopeScaling {
  const fields = { factor: number(), low_freq_factor: number(), high_freq_factor: number() }
  const { factor, low_freq_factor, high_freq_factor } = readFields(parameters, fields, parent)
  if (high_freq_factor <= low_freq_factor)
    throw malformed(
      `${parent}high_freq_factor`,
      `above low_freq_factor (${low_freq_factor})`,
      high_freq_factor,
    )
  return llama3Scaling({
    factor,
    lowFreqFactor: low_freq_factor,
    highFreqFactor: high_freq_factor,
    originalMaxPositions,
  })
}
