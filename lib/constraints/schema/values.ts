import { unsupported } from '../budget.js'
import type { JsonSchemaObject, JsonValue } from '../json-schema.js'
import { at, has, type Leaf } from './place.js'

/** The values that `const` and `enum` leave, or null where nothing lists any. */
export function valuesOf(leaves: readonly Leaf[]): readonly JsonValue[] | null {
  const lists = leaves.flatMap((leaf) => [
    ...(has(leaf, 'enum') ? [leaf.schema.enum!] : []),
    ...(has(leaf, 'const') ? [[leaf.schema.const!]] : []),
  ])
  if (lists.length === 0) return null
  const values = lists.reduce((a, b) => {
    const inB = new Set(b.map(canonicalJson))
    return a.filter((value) => inB.has(canonicalJson(value)))
  })
  return values.filter((value) => leaves.every((leaf) => fits(value, leaf)))
}

/** JSON with sorted keys: the same for equal values. */
export function canonicalJson(value: JsonValue): string {
  return JSON.stringify(value, (_, each) =>
    typeof each === 'object' && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  )
}

type Keyword = keyof JsonSchemaObject

/** Whether a number or the length of a string is within a keyword's bound. */
const checks: Partial<Record<Keyword, (value: number, bound: number) => boolean>> = {
  minimum: (value, bound) => value >= bound,
  maximum: (value, bound) => value <= bound,
  exclusiveMinimum: (value, bound) => value > bound,
  exclusiveMaximum: (value, bound) => value < bound,
}
const lengthChecks: typeof checks = {
  minLength: (value, bound) => value >= bound,
  maxLength: (value, bound) => value <= bound,
}
const others: Keyword[] = [
  ...(['properties', 'required', 'additionalProperties', 'patternProperties', 'minProperties'] as const),
  ...(['maxProperties', 'items', 'prefixItems', 'minItems', 'maxItems', 'uniqueItems'] as const),
  ...(['pattern', 'format', 'multipleOf'] as const),
]

function fits(value: JsonValue, leaf: Leaf): boolean {
  const odd = others.find((keyword) => has(leaf, keyword))
  if (odd !== undefined) throw unsupported(at(`${leaf.pointer}/${odd}`), `${odd} beside enum or const`)
  if (typeof value === 'number') return isWithin(value, leaf, checks)
  return typeof value !== 'string' || isWithin([...value].length, leaf, lengthChecks)
}

function isWithin(value: number, leaf: Leaf, bounds: typeof checks): boolean {
  return Object.entries(bounds).every(
    ([keyword, check]) =>
      !has(leaf, keyword as Keyword) || check(value, leaf.schema[keyword as Keyword] as number),
  )
}
