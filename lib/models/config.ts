import type { ErrorCode } from '../errors.js'
import { CheckpointError, describe } from '../errors.js'
import { maxLayers } from '../nn/repeat.js'

/** Reads one field of a config.json: checks what is there, undefined where nothing is, and gives what a model takes. */
export type Field<T> = (value: unknown, name: string) => T

type Fields = Record<string, Field<unknown>>

/** What reading some fields gives. */
export type ConfigOf<F extends Fields> = { [Name in keyof F]: ReturnType<F[Name]> }

/** Bounds on sizes that a file may ask for: more than any model has, and little enough to count with. */
export const limits = {
  vocabulary: 2 ** 24,
  positions: 2 ** 24,
  layers: maxLayers,
  width: 2 ** 20,
  heads: 2 ** 14,
  headSize: 256, // of the attention kernels
  experts: 1024, // of theirs
} as const

/**
 * The fields of these names in a config.json, checked, with defaults where they are absent. `null` counts as absent,
 * other fields are left alone.
 *
 *     const config = readFields(json, { n_embd: integer(limits.width, 768), scale_attn_weights: boolean(true) })
 *
 * @param parent what a message puts before their names, e.g. `rope_scaling.`
 * @throws {CheckpointError} for the first that is wrong
 */
export function readFields<const F extends Fields>(
  json: Record<string, unknown>,
  fields: F,
  parent = '',
): ConfigOf<F> {
  const entries = Object.entries(fields).map(([name, read]) => {
    const value = Object.hasOwn(json, name) ? json[name] : undefined
    return [name, read(value ?? undefined, parent + name)]
  })
  return Object.fromEntries(entries) as ConfigOf<F>
}

/** What `null` stands for itself, not for the default: `sliding_window: null` is no window. */
export function orNull<T>(json: Record<string, unknown>, name: string, field: Field<T>): T | null {
  if (Object.hasOwn(json, name) && json[name] === null) return null
  return readFields(json, { [name]: field })[name] as T
}

/** An integer from 1. Without a fallback the field must be there; a fallback of `null` makes it optional. */
export function integer(max: number, fallback?: number): Field<number>
export function integer(max: number, fallback: number | null): Field<number | null>
export function integer(max: number, fallback?: number | null): Field<number | null> {
  return (value, name) => {
    if (value === undefined && fallback !== undefined) return fallback
    if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max) return value
    throw malformed(name, `an integer from 1 to ${max}`, value)
  }
}

/** A count, which may be 0. */
export function count(max: number, fallback: number): Field<number> {
  return (value, name) => (value === 0 ? 0 : integer(max, fallback)(value, name))
}

/** A number from `min` to 1e30: far enough from the ends of f64 that no formula overflows. */
export function number(fallback?: number, min?: number): Field<number>
export function number(fallback: null, min?: number): Field<number | null>
export function number(fallback?: number | null, min = 1e-30): Field<number | null> {
  return (value, name) => {
    if (value === undefined && fallback !== undefined) return fallback
    if (typeof value === 'number' && value >= min && value <= 1e30) return value
    throw malformed(name, `a number from ${min} to 1e30`, value)
  }
}

export function boolean(fallback: boolean): Field<boolean> {
  return (value = fallback, name) => {
    if (typeof value === 'boolean') return value
    throw malformed(name, 'true or false', value)
  }
}

/** One of the names of `choices`. Another name is something that a checkpoint may have and Kvasir has not. */
export function oneOf<Name extends string>(choices: Record<Name, unknown>, fallback?: Name): Field<Name> {
  return (value = fallback, name) => {
    if (typeof value === 'string' && Object.hasOwn(choices, value)) return value as Name
    const expected = `one of ${Object.keys(choices).join(', ')}`
    throw typeof value === 'string' ? unsupported(name, expected, value) : malformed(name, expected, value)
  }
}

/** @throws {CheckpointError} when the field `part` does not divide the field `whole`: `n_head must be a divisor of n_embd (768), got 7` */
export function checkDivides(config: Record<string, unknown>, part: string, whole: string): void {
  const [divisor, dividend] = [Number(config[part]), Number(config[whole])]
  if (dividend % divisor !== 0) throw malformed(part, `a divisor of ${whole} (${dividend})`, divisor)
}

/** @throws {CheckpointError} when heads are larger than attention takes */
export function checkHeadSize(headSize: number, field: string): void {
  if (headSize > limits.headSize)
    throw unsupported(field, `such that a head has at most ${limits.headSize} channels`, headSize)
}

/** A field that no checkpoint may hold so. */
export function malformed(field: string, expected: string, found: unknown): CheckpointError {
  return configError('ERR_FILE_FORMAT', field, expected, found)
}

/** A field that is well-formed and asks for what Kvasir does not have; `advice` ends the message. */
export function unsupported(field: string, expected: string, found: unknown, advice = ''): CheckpointError {
  return configError('ERR_UNSUPPORTED', field, expected, found, advice)
}

function configError(
  code: ErrorCode,
  field: string,
  expected: string,
  value: unknown,
  advice = '',
): CheckpointError {
  const found = value === undefined ? 'nothing' : describe(value)
  const message = `config.json: ${field} must be ${expected}, got ${found}${advice}`
  return new CheckpointError(code, message, { file: 'config.json', field, expected, found })
}
