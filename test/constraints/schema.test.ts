import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { describe, expect, it } from 'vitest'
import { compileConstraint, type JsonSchema } from '#kvasir/constraints/index.js'
import { Random } from './random.js'
import { acceptor, byteTrie } from './vocabularies.js'
import { randomWalk } from './walks.js'

function validatorOf(schema: JsonSchema) {
  const ajv = new Ajv2020({ strict: false, logger: false })
  ;(addFormats as unknown as (ajv: Ajv2020) => void)(ajv)
  return ajv.compile(schema)
}

interface Case {
  schema: JsonSchema
  accepted: string[]
  refused: string[]
}

/** What is refused may be valid, where the generated form is narrower than the schema. */
const cases: Record<string, Case> = {
  'any JSON': {
    schema: true,
    accepted: ['null', '{"a":[1,2.5,{"b":"c"}], "d": true}', '[]', '{}', '"\\u00e9\\n\\ud7ff"', '-0.5e-3'],
    refused: [
      '',
      'nul',
      '[1,]',
      '{"a":1,}',
      "'a'",
      '[1 ,2]',
      ' 1',
      '"\n"',
      '"\\ud83d\\ude00"',
      '"\\x"',
      '01',
    ],
  },
  'properties in order, some optional': {
    schema: {
      type: 'object',
      properties: { a: { const: 1 }, b: { const: 2 }, c: { const: 3 } },
      required: ['b'],
    },
    accepted: ['{"b":2}', '{"a":1,"b":2}', '{"a": 1, "b": 2, "c": 3}', '{"b":2,"c":3}'],
    refused: [
      '{}',
      '{"a":1}',
      '{"b":2,"a":1}',
      '{"b":2,"d":4}',
      '{"b":2,}',
      '{,"b":2}',
      '{"b":3}',
      '{"b":2,"b":2}',
    ],
  },
  'required without a schema': {
    schema: { type: 'object', properties: { a: { type: 'null' } }, required: ['x', 'a'] },
    accepted: ['{"a":null,"x":[1]}'],
    refused: ['{"a":null}', '{"x":1}'],
  },
  'no object named: any': {
    schema: { type: 'object' },
    accepted: ['{}', '{"x":{"y":1}}'],
    refused: ['[]', '{"x"}'],
  },
  'additional properties': {
    schema: { properties: { id: { type: 'integer' } }, additionalProperties: { type: 'boolean' } },
    accepted: ['{}', '{"id":1,"x":true,"":false}', '{"i":true}', '{"idx":true}'],
    refused: ['{"x":1}', '{"id":true}', '{"x":true,"id":1}', '{"\\u0069d":true}'],
  },
  'additional properties forbidden by a part': {
    schema: {
      allOf: [
        { properties: { a: true }, additionalProperties: false },
        { properties: { a: { type: 'null' }, b: true } },
      ],
    },
    accepted: ['{}', '{"a":null}'],
    refused: ['{"b":1}', '{"a":1}'],
  },
  'pattern properties': {
    schema: {
      type: 'object',
      properties: { xa: { minimum: 5 } },
      patternProperties: { '^x': { type: 'integer' }, n$: { type: 'null' } },
    },
    accepted: ['{}', '{"xa":5}', '{"xb":1,"n":null}', '{"xa":7,"x":-1}'],
    refused: ['{"xa":4}', '{"xa":5.5}', '{"xb":"1"}', '{"a":1}', '{"xn":null}', '{"xn":1}'],
  },
  'counted properties': {
    schema: { type: 'object', properties: { a: true, b: true, c: true }, minProperties: 1, maxProperties: 2 },
    accepted: ['{"a":1}', '{"c":1}', '{"a":1,"c":1}'],
    refused: ['{}', '{"a":1,"b":1,"c":1}'],
  },
  'a map that is not empty': {
    schema: { type: 'object', additionalProperties: { type: 'integer' }, minProperties: 1, maxProperties: 3 },
    accepted: ['{"x":1}', '{"x":1,"y":2,"z":3}'],
    refused: ['{}', '{"x":1,"y":2,"z":3,"w":4}'],
  },
  'odd names': {
    schema: {
      type: 'object',
      properties: { '': { const: 0 }, ['__proto__']: { const: 1 }, 'q"\\\n漢': { const: 2 } },
    },
    accepted: ['{"":0,"__proto__":1,"q\\"\\\\\\n漢":2}', '{}'],
    refused: ['{"__proto__":2}'],
  },
  arrays: {
    schema: { type: 'array', items: { type: 'integer' }, minItems: 2, maxItems: 4 },
    accepted: ['[1,2]', '[1, -2, 3]', '[1,2,3,4]'],
    refused: ['[]', '[1]', '[1,2,3,4,5]', '[1,2.5]', '[1 2]', '[1,2'],
  },
  'long arrays': {
    schema: { type: 'array', items: { type: 'string' }, minItems: 3, maxItems: 5000 },
    accepted: [`[${'"a",'.repeat(4999)}"b"]`, '["","",""]'],
    refused: [`[${'"a",'.repeat(5000)}"b"]`, '["",""]'],
  },
  tuples: {
    schema: {
      prefixItems: [{ type: 'integer' }, { type: 'string' }, { type: 'null' }],
      items: { type: 'boolean' },
      minItems: 2,
    },
    accepted: ['[1,"a"]', '[1,"a",null]', '[1,"a",null,true,false]'],
    refused: ['[]', '[1]', '[1,"a",true]', '["a",1]'],
  },
  'tuples without more': {
    schema: { type: 'array', prefixItems: [{ const: 1 }, { const: 2 }], items: false },
    accepted: ['[]', '[1]', '[1,2]'],
    refused: ['[1,2,3]', '[2]'],
  },
  'strings of a length in characters': {
    schema: { type: 'string', minLength: 2, maxLength: 3 },
    accepted: ['"ab"', '"漢字😀"', '"\\n\\u00e9"', '"\\"\\\\"'],
    refused: ['"a"', '"abcd"', '"😀"', 'ab'],
  },
  patterns: {
    schema: { type: 'string', pattern: 'b+\\d$' },
    accepted: ['"b1"', '"a\\nbb7"', '"\\"b0"'],
    refused: ['"b"', '"b1 "', '"\\u0062b1"', '"B1"'],
  },
  'patterns and lengths': {
    schema: { type: 'string', pattern: '^[a-z]+( [a-z]+)*$', minLength: 4, maxLength: 12 },
    accepted: ['"abcd"', '"ab cd ef ghi"', '"a bcdefghijk"'].filter((text) => text.length <= 14),
    refused: ['"abc"', '"ab  cd"', '"abcdefghijklm"', '" abcd"'],
  },
  types: {
    schema: { type: ['string', 'null'], maxLength: 1 },
    accepted: ['null', '"a"', '""'],
    refused: ['"ab"', '1', 'true'],
  },
  'const and enum': {
    schema: { enum: [1, 'a', null, { x: [1, { y: 'é' }] }, 1e21] },
    accepted: ['1', '"a"', 'null', '{"x":[1,{"y":"é"}]}', '1e+21'],
    refused: ['2', '"b"', '{}', '11'],
  },
  'enum within a type and bounds': {
    schema: {
      allOf: [{ enum: [1, 2, 3, 'a', 'abc'] }, { enum: ['abc', 'a', 3, 2] }],
      type: ['integer', 'string'],
      minimum: 3,
      minLength: 2,
    },
    accepted: ['3', '"abc"'],
    refused: ['1', '2', '"a"'],
  },
  'unions with what is beside them': {
    schema: {
      type: 'object',
      properties: { a: { type: 'integer' } },
      required: ['a'],
      anyOf: [{ properties: { a: { maximum: 5 } } }, { properties: { b: { const: 'x' } }, required: ['b'] }],
    },
    accepted: ['{"a":3}', '{"a":9,"b":"x"}'],
    refused: ['{"a":9}', '{"b":"x"}'],
  },
  'oneOf by type': {
    schema: {
      oneOf: [
        { type: 'string' },
        { type: 'integer', minimum: 0 },
        { type: 'array', items: { type: 'null' } },
      ],
    },
    accepted: ['"a"', '7', '[null]'],
    refused: ['-1', 'true', '[1]'],
  },
  'oneOf by a property': {
    schema: {
      oneOf: [
        {
          type: 'object',
          properties: { kind: { const: 'a' }, x: { type: 'null' } },
          required: ['kind', 'x'],
        },
        { type: 'object', properties: { kind: { enum: ['b', 'c'] } }, required: ['kind'] },
      ],
    },
    accepted: ['{"kind":"a","x":null}', '{"kind":"c"}'],
    refused: ['{"kind":"a"}', '{"kind":"d"}'],
  },
  recursion: {
    schema: {
      $ref: '#/$defs/node',
      $defs: {
        node: {
          type: 'object',
          properties: {
            value: { type: 'integer' },
            next: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] },
          },
          required: ['value', 'next'],
          additionalProperties: false,
        },
      },
    },
    accepted: ['{"value":1,"next":null}', '{"value":1,"next":{"value":2,"next":{"value":3,"next":null}}}'],
    refused: ['{"value":1}', '{"value":1,"next":{"value":2}}', '{"value":1,"next":{}}'],
  },
  'recursion with conditions': {
    schema: {
      type: 'object',
      properties: { child: { $ref: '#', required: ['name'] }, name: { type: 'string' } },
    },
    accepted: ['{}', '{"child":{"name":"a"}}', '{"child":{"child":{"name":"b"},"name":"a"}}'],
    refused: ['{"child":{}}', '{"child":{"child":{},"name":"a"}}'],
  },
  'pointers with escapes': {
    schema: { $ref: '#/definitions/a~1b%20c', definitions: { 'a/b c': { const: 1 } } },
    accepted: ['1'],
    refused: ['2'],
  },
}

describe('schemas', () => {
  it.each(Object.entries(cases))('%s', (_, { schema, accepted, refused }) => {
    const accepts = acceptor({ json: schema })
    const validate = validatorOf(schema)
    for (const text of accepted) {
      expect(accepts(text), text).toBe(true)
      expect(validate(JSON.parse(text)), `ajv: ${text}`).toBe(true)
    }
    for (const text of refused) expect(accepts(text), text).toBe(false)
  })

  const examples: Record<string, [accepted: string[], refused: string[]]> = {
    date: [
      ['2024-02-29', '2000-02-29', '1999-12-31'],
      ['2023-02-29', '1900-02-29', '2024-04-31', '24-01-01'],
    ],
    time: [
      ['23:59:59Z', '00:00:00.123+05:30'],
      ['24:00:00Z', '12:00:00', '12:60:00Z'],
    ],
    'date-time': [['2024-02-29T12:00:00Z'], ['2024-02-29 12:00:00Z', '2024-02-30T12:00:00Z']],
    duration: [
      ['P1Y2M3D', 'PT5M', 'P3W', 'P1M'],
      ['P', 'PT', '1Y'],
    ],
    uuid: [
      ['123e4567-e89b-12d3-a456-426614174000'],
      ['123e4567e89b12d3a456426614174000', '123g4567-e89b-12d3-a456-426614174000'],
    ],
    ipv4: [
      ['0.0.0.0', '255.192.10.1'],
      ['256.0.0.1', '1.2.3', '01.2.3.4'],
    ],
    ipv6: [
      ['::', '::1', '1::', '2001:db8::ff00:42:8329', '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:1.2.3.4'],
      ['1:2:3', ':::', '1::2::3', '1:2:3:4:5:6:7:8:9', 'g::'],
    ],
    hostname: [
      ['a', 'example.org', 'x-1.b-2.c'],
      ['-a', 'a-', 'a..b', '', 'a_b'],
    ],
    email: [
      ['a@b.c', 'first.last+tag@sub.example.org'],
      ['a', 'a@b', '@b.c', 'a@b..c', '.a@b.c'],
    ],
    uri: [
      ['https://example.org', 'http://a.b:80/c/d?e=f#g', 'https://x/%20'],
      ['example.org', 'https://', 'http://a/ b'],
    ],
  }
  it.each(Object.entries(examples))('format %s', (format, [accepted, refused]) => {
    const schema = { type: 'string', format } as const
    const accepts = acceptor({ json: schema })
    const validate = validatorOf(schema)
    for (const text of accepted) {
      expect(accepts(JSON.stringify(text)), text).toBe(true)
      expect(validate(text), `ajv: ${text}`).toBe(true)
    }
    for (const text of refused) expect(accepts(JSON.stringify(text)), text).toBe(false)
  })

  it.each(Object.keys(examples))('what is generated for format %s validates', (format) => {
    const schema = { type: 'string', format } as const
    const compiled = compileConstraint({ json: schema }, byteTrie)
    const validate = validatorOf(schema)
    const random = new Random(5)
    for (let i = 0; i < 100; i++) {
      const { text, isComplete } = randomWalk(compiled, byteTrie, random, { numFree: 60, most: 300 })
      if (isComplete) expect(validate(JSON.parse(text)), text).toBe(true)
    }
  })

  it.each([
    [{ not: {} }, 'ERR_UNSUPPORTED', 'json, /not'],
    [{ type: 'string', format: 'credit-card' }, 'ERR_UNSUPPORTED', 'json, /format'],
    [{ properties: { a: { items: { if: true } } } }, 'ERR_UNSUPPORTED', 'json, /properties/a/items/if'],
    [
      { properties: { 'a/b': { oneOf: [{ type: 'integer' }, { type: 'number' }] } } },
      'ERR_UNSUPPORTED',
      'json, /properties/a~1b/oneOf',
    ],
    [{ type: 'array', uniqueItems: true }, 'ERR_UNSUPPORTED', 'json, /uniqueItems'],
    [{ $ref: '#' }, 'ERR_UNSUPPORTED', 'json'],
    [
      { $ref: '#/$defs/a', $defs: { a: { allOf: [{ $ref: '#/$defs/b' }] }, b: { $ref: '#/$defs/a' } } },
      'ERR_UNSUPPORTED',
      '/$defs/a',
    ],
    [{ anyOf: [{ $ref: '#' }, { type: 'null' }] }, 'ERR_UNSUPPORTED', 'begins with itself'],
    [{ $ref: 'https://example.org/schema' }, 'ERR_UNSUPPORTED', 'json, /$ref'],
    [{ $ref: '#/$defs/missing' }, 'ERR_INVALID_ARG_VALUE', 'json, /$ref'],
    [{ $ref: '#/%zz' }, 'ERR_INVALID_ARG_VALUE', 'json, /$ref'],
    [{ type: 'text' }, 'ERR_INVALID_ARG_VALUE', 'json, /type'],
    [{ type: 'string', minLength: -1 }, 'ERR_INVALID_ARG_VALUE', 'json, /minLength'],
    [{ items: [{ type: 'string' }] }, 'ERR_INVALID_ARG_VALUE', 'json, /items'],
    [{ anyOf: [] }, 'ERR_INVALID_ARG_VALUE', 'json, /anyOf'],
    [{ type: 'string', pattern: '(?=a)' }, 'ERR_UNSUPPORTED', 'json, /pattern, offset 0'],
    [{ enum: ['a'], pattern: 'a' }, 'ERR_UNSUPPORTED', 'json, /pattern'],
    [
      { type: 'object', additionalProperties: true, minProperties: 2 },
      'ERR_UNSUPPORTED',
      'json, /minProperties',
    ],
    [false, 'ERR_UNSATISFIABLE', 'json'],
    [{ enum: [] }, 'ERR_UNSATISFIABLE', 'json'],
    [{ type: 'integer', enum: ['a'] }, 'ERR_UNSATISFIABLE', 'json'],
    [{ allOf: [{ type: 'string' }, { type: 'integer' }] }, 'ERR_UNSATISFIABLE', 'json'],
    [
      { properties: { a: { type: 'string', minLength: 3, maxLength: 2 } }, required: ['a'] },
      'ERR_UNSATISFIABLE',
      'json, /properties/a',
    ],
    [{ type: 'string', pattern: '^a{5}$', maxLength: 4 }, 'ERR_UNSATISFIABLE', 'json'],
    [{ type: 'array', items: false, minItems: 1 }, 'ERR_UNSATISFIABLE', 'json'],
    [{ type: 'object', required: ['a', 'b'], maxProperties: 1 }, 'ERR_UNSATISFIABLE', 'json'],
    [
      { type: 'object', required: ['a'], additionalProperties: false },
      'ERR_UNSATISFIABLE',
      '/additionalProperties',
    ],
    [
      {
        $ref: '#/$defs/a',
        $defs: { a: { type: 'object', properties: { a: { $ref: '#/$defs/a' } }, required: ['a'] } },
      },
      'ERR_UNSATISFIABLE',
      'json',
    ],
  ] as [JsonSchema, string, string][])('refuses %j', (json, code, place) => {
    expect(() => compileConstraint({ json }, byteTrie)).toThrow(
      expect.objectContaining({ code, name: 'ConstraintError' }),
    )
    expect(() => compileConstraint({ json }, byteTrie)).toThrow(place)
  })
})
