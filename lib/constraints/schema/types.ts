import { malformed } from '../budget.js'
import type { JsonSchemaObject, JsonType, JsonValue } from '../json-schema.js'
import { at, has, type Leaf } from './place.js'

export const allTypes: readonly JsonType[] = ['object', 'array', 'string', 'number', 'boolean', 'null']

/** The type that each keyword is about. */
const typeOfKeyword: Partial<Record<keyof JsonSchemaObject, JsonType>> = {
  properties: 'object',
  required: 'object',
  additionalProperties: 'object',
  patternProperties: 'object',
  minProperties: 'object',
  maxProperties: 'object',
  items: 'array',
  prefixItems: 'array',
  minItems: 'array',
  maxItems: 'array',
  uniqueItems: 'array',
  minLength: 'string',
  maxLength: 'string',
  pattern: 'string',
  format: 'string',
  minimum: 'number',
  maximum: 'number',
  exclusiveMinimum: 'number',
  exclusiveMaximum: 'number',
  multipleOf: 'number',
}

/** The types that some schemas allow together. */
export function allowedTypes(leaves: readonly Leaf[]): Set<JsonType> {
  return leaves.map(declaredTypes).reduce(common, new Set(allTypes))
}

/**
 * The types that are generated: those allowed, and where no schema names any, those that its keywords are about.
 * (A schema with `minLength` alone accepts any number, but that is hardly what was meant.)
 */
export function typesOf(leaves: readonly Leaf[]): Set<JsonType> {
  const allowed = allowedTypes(leaves)
  const isNamed = leaves.some((leaf) => has(leaf, 'type') || has(leaf, 'enum') || has(leaf, 'const'))
  if (isNamed) return allowed
  const meant = new Set<JsonType>()
  for (const leaf of leaves) {
    for (const [keyword, type] of Object.entries(typeOfKeyword))
      if (has(leaf, keyword as keyof JsonSchemaObject)) meant.add(type)
  }
  return meant.size === 0 ? allowed : meant
}

function declaredTypes(leaf: Leaf): Set<JsonType> {
  if (!has(leaf, 'type')) return new Set(allTypes)
  const named = [leaf.schema.type!].flat() as string[]
  const unknown = named.find((name) => name !== 'integer' && !allTypes.some((type) => type === name))
  if (unknown !== undefined || named.length === 0)
    throw malformed(at(`${leaf.pointer}/type`), 'types of JSON Schema', JSON.stringify(unknown ?? []))
  return new Set(named as JsonType[])
}

function common(a: Set<JsonType>, b: Set<JsonType>): Set<JsonType> {
  const both = new Set([...a].filter((type) => b.has(type)))
  const isInteger = (one: Set<JsonType>, other: Set<JsonType>) => one.has('integer') && other.has('number')
  if (isInteger(a, b) || isInteger(b, a)) both.add('integer')
  // Integers are numbers.
  if (both.has('number')) both.delete('integer')
  return both
}

export function isOfType(value: JsonValue, type: JsonType): boolean {
  if (type === 'null') return value === null
  if (type === 'array') return Array.isArray(value)
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value)
  if (type === 'integer') return Number.isInteger(value)
  return typeof value === type
}
