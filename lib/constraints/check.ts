import { invalidType, invalidValue } from '../errors.js'
import { maxConstraintBytes, maxDepth } from './budget.js'
import type { Constraint } from './constraint.js'
import type { JsonSchema } from './json-schema.js'

const kinds = ['json', 'regex', 'grammar', 'choices'] as const

/**
 * Checks what can be checked at once, kinds and sizes, and copies the constraint, so that it is plain data and stays
 * as it is.
 *
 * @param where the function and its argument, in the words of an error message
 * @throws TypeError for another kind of value, RangeError for one that is too large
 */
export function checkConstraint(where: string, constraint: unknown): Constraint {
  if (typeof constraint !== 'object' || constraint === null || Array.isArray(constraint))
    throw invalidType(where, 'a constraint: { json }, { regex }, { grammar } or { choices }', constraint)
  const given = kinds.filter((kind) => Object.hasOwn(constraint, kind))
  const others = Object.keys(constraint).filter((key) => !kinds.some((kind) => kind === key))
  if (given.length !== 1 || others.length > 0)
    throw invalidValue(
      where,
      'one of { json }, { regex }, { grammar }, { choices }',
      [...given, ...others].join(),
    )
  const kind = given[0]!
  const value: unknown = (constraint as Record<string, unknown>)[kind]
  switch (kind) {
    case 'json':
      return { json: checkSchema(`${where}.json`, value) }
    case 'regex':
      return { regex: checkText(`${where}.regex`, value) }
    case 'grammar':
      return { grammar: checkText(`${where}.grammar`, value) }
    case 'choices':
      return { choices: checkChoices(`${where}.choices`, value) }
  }
}

function checkText(where: string, value: unknown): string {
  if (typeof value !== 'string') throw invalidType(where, 'a string', value)
  checkSize(where, Buffer.byteLength(value))
  if (/\p{Surrogate}/u.test(value)) throw invalidValue(where, 'well-formed Unicode', value)
  return value
}

function checkSize(where: string, sizeBytes: number): void {
  if (sizeBytes > maxConstraintBytes)
    throw invalidValue(where, `at most ${maxConstraintBytes} bytes of UTF-8`, sizeBytes)
}

function checkChoices(where: string, value: unknown): readonly string[] {
  if (!Array.isArray(value)) throw invalidType(where, 'an array of strings', value)
  if (value.length === 0) throw invalidValue(where, 'at least one string', 'none')
  if (value.length > maxConstraintBytes)
    throw invalidValue(`${where}.length`, `at most ${maxConstraintBytes}`, value.length)
  const choices = Array.from(value, (choice, i) => checkText(`${where}[${i}]`, choice))
  checkSize(
    where,
    choices.reduce((sum, choice) => sum + Buffer.byteLength(choice), 0),
  )
  return choices
}

function checkSchema(where: string, value: unknown): JsonSchema {
  const remaining = { values: maxConstraintBytes }
  const copy = copyJson(where, value, 0, remaining)
  if (typeof copy !== 'boolean' && !isObject(copy)) throw invalidType(where, 'a JSON schema', value)
  checkSize(where, Buffer.byteLength(JSON.stringify(copy)))
  return copy as JsonSchema
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A schema nests in its keywords: an object or array of schemas between one and the next. */
const maxJsonDepth = 2 * maxDepth

/** Plain JSON as a copy without prototypes, where `__proto__` is a key like any other. */
function copyJson(where: string, value: unknown, depth: number, remaining: { values: number }): unknown {
  if (depth > maxJsonDepth) throw invalidValue(where, `JSON nested at most ${maxJsonDepth} deep`, 'more')
  if (--remaining.values < 0) throw invalidValue(where, `JSON of at most ${maxConstraintBytes} bytes`, 'more')
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'number' && Number.isFinite(value)) return value
  if (typeof value === 'string') return checkText(where, value)
  if (Array.isArray(value))
    return Array.from(value, (item, i) => copyJson(`${where}/${i}`, item, depth + 1, remaining))
  if (!isObject(value)) throw invalidType(where, 'a value of JSON', value)
  const copy: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(value)) {
    if (item === undefined) continue
    const copied = copyJson(`${where}/${checkText(where, key)}`, item, depth + 1, remaining)
    Object.defineProperty(copy, key, { value: copied, enumerable: true, configurable: true, writable: true })
  }
  return copy
}
