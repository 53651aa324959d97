import { describe, expectTypeOf, it } from 'vitest'
import type { FromSchema, JsonSchema, JsonValue } from '#kvasir/constraints/index.js'

// These are checked by the compiler: `npm run types`.

const person = {
  type: 'object',
  properties: {
    name: { type: 'string' },
    age: { type: 'integer', minimum: 0 },
    tags: { type: 'array', items: { enum: ['a', 'b', null] } },
    at: { type: 'array', prefixItems: [{ type: 'number' }, { type: 'boolean' }], items: false },
    address: {
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
      additionalProperties: false,
    },
    note: { type: ['string', 'null'] },
  },
  required: ['name', 'tags'],
} as const satisfies JsonSchema

interface Person {
  name: string
  age?: number
  tags: ('a' | 'b' | null)[]
  at?: [number?, boolean?]
  address?: { city: string }
  note?: string | null
}

const tree = {
  $ref: '#/$defs/node',
  $defs: {
    node: {
      type: 'object',
      properties: {
        value: { type: 'integer' },
        children: { type: 'array', items: { $ref: '#/$defs/node' } },
      },
      required: ['value'],
    },
  },
} as const satisfies JsonSchema

const shapes = {
  oneOf: [
    {
      type: 'object',
      properties: { kind: { const: 'circle' }, radius: { type: 'number' } },
      required: ['kind', 'radius'],
    },
    { type: 'object', properties: { kind: { const: 'point' } }, required: ['kind'] },
  ],
} as const satisfies JsonSchema

describe('FromSchema', () => {
  it('infers objects, arrays, unions and references', () => {
    expectTypeOf<FromSchema<typeof person>>().toEqualTypeOf<Person>()
    expectTypeOf<FromSchema<typeof shapes>>().toEqualTypeOf<
      { kind: 'circle'; radius: number } | { kind: 'point' }
    >()
    type Node = FromSchema<typeof tree>
    expectTypeOf<Node['value']>().toEqualTypeOf<number>()
    expectTypeOf<NonNullable<Node['children']>[0]['value']>().toEqualTypeOf<number>()
  })

  it('infers simple types', () => {
    expectTypeOf<FromSchema<{ type: 'string' }>>().toEqualTypeOf<string>()
    expectTypeOf<FromSchema<{ type: 'integer' }>>().toEqualTypeOf<number>()
    expectTypeOf<FromSchema<{ type: 'null' }>>().toEqualTypeOf<null>()
    expectTypeOf<FromSchema<{ readonly type: readonly ['boolean', 'number'] }>>().toEqualTypeOf<
      boolean | number
    >()
    expectTypeOf<FromSchema<{ readonly const: readonly [1, 2] }>>().toEqualTypeOf<[1, 2]>()
    expectTypeOf<FromSchema<{ readonly enum: readonly [1, 'x'] }>>().toEqualTypeOf<1 | 'x'>()
    expectTypeOf<FromSchema<{ type: 'array'; items: { type: 'string' } }>>().toEqualTypeOf<string[]>()
    expectTypeOf<FromSchema<{ type: 'array' }>>().toEqualTypeOf<JsonValue[]>()
    expectTypeOf<FromSchema<{ additionalProperties: { type: 'number' } }>>().toEqualTypeOf<{
      [key: string]: number
    }>()
    expectTypeOf<FromSchema<true>>().toEqualTypeOf<JsonValue>()
    expectTypeOf<FromSchema<false>>().toEqualTypeOf<never>()
    expectTypeOf<FromSchema<Record<never, never>>>().toEqualTypeOf<unknown>()
  })

  it('adds what allOf asks for', () => {
    type Both = FromSchema<{
      readonly allOf: readonly [
        {
          readonly properties: { readonly a: { readonly type: 'string' } }
          readonly required: readonly ['a']
        },
        { readonly properties: { readonly b: { readonly type: 'number' } } },
      ]
    }>
    expectTypeOf<Both['a']>().toEqualTypeOf<string>()
    expectTypeOf<Both['b']>().toEqualTypeOf<number | undefined>()
  })
})
