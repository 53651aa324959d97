import type { Random } from './random.js'

// biome-ignore lint/suspicious/noExplicitAny: schemas are built piece by piece
type Schema = any

const names = ['a', 'b', 'name', 'naïve', 'x-y', 'with "quotes"', 'value', '漢字', 'tab\there', 'id']
const patterns = [
  '^[a-z]+$',
  '^\\d{2,4}-x$',
  'ab|cd',
  '^(foo|bar)?$',
  '[^\\s]{3}',
  '\\u00e9$',
  '^"\\\\',
  '^.{2,5}$',
  '^\\w+( \\w+)*$',
]
const formats = ['date', 'time', 'date-time', 'uuid', 'ipv4', 'ipv6', 'hostname', 'email', 'uri', 'duration']
const values = [
  null,
  true,
  false,
  0,
  -1.5,
  1e21,
  'text',
  'qu"ote',
  'é\n',
  [],
  [1, 'a'],
  {},
  { a: { b: null } },
]

/** A schema with definitions that it may refer to, some of them recursive. */
export function randomSchema(random: Random): Schema {
  const schema = randomPart(random, 3)
  if (typeof schema === 'boolean') return schema
  const tree = {
    type: 'object',
    properties: { value: randomPart(random, 1), next: { $ref: '#/$defs/tree' } },
  }
  const list = {
    type: 'array',
    items: { anyOf: [{ $ref: '#/$defs/list' }, { type: 'integer' }] },
    maxItems: 3,
  }
  return { ...schema, $defs: { tree: { ...tree, required: ['value'] }, list, leaf: randomPart(random, 1) } }
}

function randomPart(random: Random, depth: number): Schema {
  const kinds = [
    string,
    number,
    integer,
    scalar,
    ...(depth > 0 ? [object, object, array, array, union, all] : []),
  ]
  const schema = random.chance(0.06) && depth < 3 ? reference(random) : random.pick(kinds)(random, depth)
  return random.chance(0.1) && typeof schema === 'object'
    ? { ...schema, title: 'T', description: 'D' }
    : schema
}

function reference(random: Random): Schema {
  return { $ref: `#/$defs/${random.pick(['tree', 'list', 'leaf'])}` }
}

function bounds(random: Random, low: string, high: string, most: number): Schema {
  const first = random.below(most)
  const schema: Schema = {}
  if (random.chance(0.4)) schema[low] = first
  if (random.chance(0.4)) schema[high] = first + random.below(most)
  return schema
}

function string(random: Random): Schema {
  const schema: Schema = { type: 'string', ...bounds(random, 'minLength', 'maxLength', 6) }
  if (random.chance(0.2)) schema.maxLength = 40 + random.below(200)
  if (random.chance(0.2)) return { type: 'string', format: random.pick(formats) }
  return random.chance(0.3) ? { ...schema, pattern: random.pick(patterns) } : schema
}

function bound(random: Random): number {
  const digits = 10 ** random.below(5)
  const value = (random.next() - 0.5) * 2 * 10 ** (random.below(9) - 3)
  return random.chance(0.2) ? value : Math.round(value * digits) / digits
}

function number(random: Random): Schema {
  const [a, b] = [bound(random), bound(random)].sort((x, y) => x - y)
  const schema: Schema = { type: 'number' }
  if (random.chance(0.4)) schema[random.chance(0.5) ? 'minimum' : 'exclusiveMinimum'] = a
  if (random.chance(0.4)) schema[random.chance(0.5) ? 'maximum' : 'exclusiveMaximum'] = b
  return schema
}

function integer(random: Random): Schema {
  const schema = { ...number(random), type: 'integer' }
  return random.chance(0.2) ? { ...schema, multipleOf: random.pick([2, 3, 7, 10, 25]) } : schema
}

function scalar(random: Random): Schema {
  return random.pick<() => Schema>([
    () => ({ type: 'boolean' }),
    () => ({ type: 'null' }),
    () => ({ const: random.pick(values) }),
    () => ({ enum: Array.from({ length: 1 + random.below(4) }, () => random.pick(values)) }),
    () => ({ type: ['string', 'null'], maxLength: 5 }),
    () => true,
    () => ({}),
  ])()
}

function object(random: Random, depth: number): Schema {
  const properties: Schema = {}
  for (let i = random.below(4); i > 0; i--) properties[random.pick(names)] = randomPart(random, depth - 1)
  const schema: Schema = { type: 'object', properties }
  const required = [...new Set([...Object.keys(properties), ...names.slice(0, 1)])].filter(() =>
    random.chance(0.4),
  )
  if (required.length > 0) schema.required = required
  if (random.chance(0.4))
    schema.additionalProperties = random.pick<Schema>([
      true,
      false,
      false,
      { type: 'integer' },
      randomPart(random, 0),
    ])
  if (random.chance(0.2)) schema.patternProperties = { '^x-': { type: 'boolean' }, e$: randomPart(random, 0) }
  if (random.chance(0.15)) schema.minProperties = random.below(3)
  if (random.chance(0.15)) schema.maxProperties = random.below(5)
  return schema
}

function array(random: Random, depth: number): Schema {
  const schema: Schema = { type: 'array', ...bounds(random, 'minItems', 'maxItems', 4) }
  if (random.chance(0.7)) schema.items = random.chance(0.1) ? false : randomPart(random, depth - 1)
  if (random.chance(0.3))
    schema.prefixItems = Array.from({ length: 1 + random.below(3) }, () => randomPart(random, depth - 1))
  if (random.chance(0.05)) Object.assign(schema, { uniqueItems: true, maxItems: 1, minItems: 0 })
  return schema
}

function union(random: Random, depth: number): Schema {
  if (random.chance(0.3)) return { oneOf: [string(random), number(random), { type: 'null' }] }
  if (random.chance(0.3)) return { oneOf: ['one', 'two'].map((kind) => tagged(random, kind, depth)) }
  const options = Array.from({ length: 1 + random.below(3) }, () => randomPart(random, depth - 1))
  return random.chance(0.3) ? { anyOf: options, ...string(random) } : { anyOf: options }
}

function tagged(random: Random, kind: string, depth: number): Schema {
  const properties = { kind: { const: kind }, value: randomPart(random, depth - 1) }
  return { type: 'object', properties, required: ['kind'] }
}

function all(random: Random, depth: number): Schema {
  const parts = [object(random, depth - 1), object(random, depth - 1)]
  return random.chance(0.5) ? { allOf: parts } : { allOf: [number(random), integer(random)] }
}
