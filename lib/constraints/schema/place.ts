import { malformed, unsupported } from '../budget.js'
import type { JsonSchema, JsonSchemaObject } from '../json-schema.js'

/** A schema in a schema, and which of its keywords have been dealt with. */
export interface Place {
  readonly schema: JsonSchema
  readonly pointer: string
  readonly without: readonly string[]
}

/** A place whose schema is an object, with `$ref` and `allOf` resolved into other leaves. */
export interface Leaf extends Place {
  readonly schema: JsonSchemaObject
}

/** What a keyword must be. */
const kindOf: Record<string, (value: unknown) => boolean> = {
  type: (value) => typeof value === 'string' || isArrayOf(value, (type) => typeof type === 'string'),
  enum: Array.isArray,
  const: () => true,
  properties: isSchemas,
  required: (value) => isArrayOf(value, (name) => typeof name === 'string'),
  additionalProperties: isSchema,
  patternProperties: isSchemas,
  minProperties: isCount,
  maxProperties: isCount,
  items: isSchema,
  prefixItems: (value) => isArrayOf(value, isSchema),
  minItems: isCount,
  maxItems: isCount,
  uniqueItems: (value) => typeof value === 'boolean',
  minLength: isCount,
  maxLength: isCount,
  pattern: (value) => typeof value === 'string',
  format: (value) => typeof value === 'string',
  minimum: (value) => typeof value === 'number',
  maximum: (value) => typeof value === 'number',
  exclusiveMinimum: (value) => typeof value === 'number',
  exclusiveMaximum: (value) => typeof value === 'number',
  multipleOf: (value) => typeof value === 'number' && value > 0,
  anyOf: isOptions,
  oneOf: isOptions,
  allOf: isOptions,
  $ref: (value) => typeof value === 'string',
}

const annotations = new Set([
  ...['$defs', 'definitions', '$schema', '$id', '$comment', 'title', 'description', 'default', 'examples'],
  ...['deprecated', 'readOnly', 'writeOnly'],
])

function isArrayOf(value: unknown, is: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(is)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isSchema(value: unknown): boolean {
  return typeof value === 'boolean' || isObject(value)
}

function isSchemas(value: unknown): boolean {
  return isObject(value) && Object.values(value).every(isSchema)
}

function isOptions(value: unknown): boolean {
  return isArrayOf(value, isSchema) && (value as unknown[]).length > 0
}

function isCount(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0
}

/** A pointer in the words of an error message. */
export function at(pointer: string): string {
  return pointer === '' ? 'json' : `json, ${pointer}`
}

export function placeOf(schema: JsonSchema, pointer: string): Place {
  return { schema, pointer, without: [] }
}

/** The schema that one keyword of a leaf holds, or one of the schemas that it holds. */
export function below(leaf: Leaf, schema: JsonSchema, keyword: string, key?: string | number): Place {
  const step = key === undefined ? '' : `/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`
  return placeOf(schema, `${leaf.pointer}/${keyword}${step}`)
}

export function keyOf({ pointer, without }: Place): string {
  return [pointer, ...without].join(' !')
}

/** Whether a leaf has a keyword that has not been dealt with. */
export function has(leaf: Leaf, keyword: keyof JsonSchemaObject): boolean {
  return Object.hasOwn(leaf.schema, keyword) && !leaf.without.includes(keyword)
}

/** Whether nothing is left in a leaf that constrains. */
export function isBare(leaf: Leaf): boolean {
  return Object.keys(leaf.schema).every(
    (keyword) => annotations.has(keyword) || leaf.without.includes(keyword),
  )
}

/** The keywords in force, checked. @throws ConstraintError for unknown ones, and values of a wrong kind */
function checkKeywords(schema: JsonSchemaObject, pointer: string): void {
  for (const [keyword, value] of Object.entries(schema)) {
    // An identifier below the root would be a root of its own for pointers.
    if (keyword === '$id' && pointer !== '')
      throw unsupported(at(`${pointer}/$id`), 'an identifier in a part')
    if (annotations.has(keyword)) continue
    const is = Object.hasOwn(kindOf, keyword) ? kindOf[keyword] : undefined
    if (is === undefined)
      throw unsupported(at(`${pointer}/${keyword}`), `the keyword ${JSON.stringify(keyword)}`)
    if (!is(value))
      throw malformed(
        at(`${pointer}/${keyword}`),
        'a value as JSON Schema 2020-12 has it',
        JSON.stringify(value).slice(0, 80),
      )
  }
}

/** Leaves of what a conjunction of places asks for, or null where one of them is `false`. */
export function leavesOf(root: JsonSchema, places: readonly Place[]): Leaf[] | null {
  const leaves = new Map<string, Leaf>()
  const done = new Set<string>()
  let isPossible = true
  const visit = (place: Place, way: readonly string[]): void => {
    if (way.includes(place.pointer))
      throw unsupported(at(place.pointer), 'a reference that leads back to itself')
    if (done.has(keyOf(place))) return
    done.add(keyOf(place))
    if (typeof place.schema === 'boolean') {
      isPossible &&= place.schema
      return
    }
    const leaf = place as Leaf
    checkKeywords(leaf.schema, leaf.pointer)
    const onward = [...way, leaf.pointer]
    if (has(leaf, '$ref')) visit(resolve(root, leaf), onward)
    if (has(leaf, 'allOf'))
      for (const [i, part] of leaf.schema.allOf!.entries()) visit(below(leaf, part, 'allOf', i), onward)
    const own: Leaf = { ...leaf, without: [...new Set([...leaf.without, '$ref', 'allOf'])] }
    if (!isBare(own)) leaves.set(keyOf(own), own)
  }
  for (const place of places) visit(place, [])
  return isPossible ? [...leaves.values()] : null
}

function resolve(root: JsonSchema, leaf: Leaf): Place {
  const ref = leaf.schema.$ref!
  const where = at(`${leaf.pointer}/$ref`)
  if (ref !== '#' && !ref.startsWith('#/'))
    throw unsupported(where, `a reference that is no pointer: ${JSON.stringify(ref)}`)
  const steps = decodePointer(ref, where)
  let target: unknown = root
  for (const step of steps) {
    const isThere = typeof target === 'object' && target !== null && Object.hasOwn(target, step)
    target = isThere ? (target as Record<string, unknown>)[step] : undefined
  }
  if (!isSchema(target)) throw malformed(where, 'a pointer to a schema', JSON.stringify(ref))
  const pointer = steps.map((step) => `/${step.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
  return placeOf(target as JsonSchema, pointer)
}

function decodePointer(ref: string, where: string): string[] {
  try {
    return ref
      .split('/')
      .slice(1)
      .map((step) => decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~'))
  } catch {
    throw malformed(where, 'a pointer to a schema', JSON.stringify(ref))
  }
}
