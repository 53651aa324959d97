import { describe, expect, it } from 'vitest'
import { compileConstraint } from '#kvasir/constraints/index.js'
import { Random } from './random.js'
import { acceptor, byteTrie } from './vocabularies.js'
import { randomWalk } from './walks.js'

type Bounds = Partial<
  Record<'minimum' | 'maximum' | 'exclusiveMinimum' | 'exclusiveMaximum' | 'multipleOf', number>
>

function isWithin(value: number, bounds: Bounds): boolean {
  const {
    minimum = -Infinity,
    maximum = Infinity,
    exclusiveMinimum = -Infinity,
    exclusiveMaximum = Infinity,
  } = bounds
  const isMultiple = bounds.multipleOf === undefined || value % bounds.multipleOf === 0
  return (
    value >= minimum && value <= maximum && value > exclusiveMinimum && value < exclusiveMaximum && isMultiple
  )
}

const integerBounds: Bounds[] = [
  { minimum: 0, maximum: 9 },
  { minimum: -7, maximum: 115 },
  { minimum: 10, maximum: 10 },
  { minimum: 95, maximum: 1234 },
  { exclusiveMinimum: -100, exclusiveMaximum: -9 },
  { minimum: -1200 },
  { maximum: 99 },
  { minimum: 0.5, maximum: 3.5 },
  { exclusiveMinimum: 0, maximum: 1000 },
  { multipleOf: 7 },
  { multipleOf: 6, minimum: -50, maximum: 4000 },
  { multipleOf: 12, minimum: -123456 },
]

describe('integers', () => {
  it.each(integerBounds)('within %j', (bounds) => {
    const accepts = acceptor({ json: { type: 'integer', ...bounds } })
    for (let value = -1500; value <= 1500; value++)
      expect(accepts(String(value)), `${value}`).toBe(isWithin(value, bounds))
    for (const text of ['', '-', '00', '01', '+1', '1.0', '1e2', ' 1', '1 ', '0x1'])
      expect(accepts(text), text).toBe(false)
  })

  it('of 15 digits and no more, so that they are exact', () => {
    const accepts = acceptor({ json: { type: 'integer' } })
    expect(accepts('999999999999999')).toBe(true)
    expect(accepts('1000000000000000')).toBe(false)
  })
})

const numberBounds: Bounds[] = [
  { minimum: 0, maximum: 1 },
  { exclusiveMinimum: 0, exclusiveMaximum: 1 },
  { minimum: -1.25, maximum: 2.5 },
  { exclusiveMinimum: -1.2, maximum: -0.35 },
  { minimum: 1.005, maximum: 1.01 },
  { minimum: 9.9, maximum: 10.1 },
  { exclusiveMaximum: -1 },
  { minimum: 0.1 },
  { exclusiveMinimum: 1.99 },
]

describe('numbers', () => {
  it.each(numberBounds)('within %j', (bounds) => {
    const accepts = acceptor({ json: { type: 'number', ...bounds } })
    // In thousandths: all around the bounds, and some between.
    const near = Object.values(bounds).flatMap((bound) =>
      Array.from({ length: 121 }, (_, i) => Math.round(bound * 1000) + i - 60),
    )
    const far = Array.from({ length: 700 }, (_, i) => i * 37 - 13_000)
    for (const scaled of [...near, ...far]) {
      const isNegative = scaled < 0 ? '-' : ''
      const digits = String(Math.abs(scaled)).padStart(4, '0')
      const text = `${isNegative}${Number(digits.slice(0, -3))}.${digits.slice(-3)}`
      for (const variant of [text, text.slice(0, -1), text.slice(0, -2), text.slice(0, -4), `${text}0`]) {
        // Zero has no sign where there are bounds.
        const value = Number(variant)
        if (Object.is(value, -0)) continue
        expect(accepts(variant), `${variant} within ${JSON.stringify(bounds)}`).toBe(isWithin(value, bounds))
      }
    }
    for (const text of ['', '-', '.5', '1.', '01.5', '1e1', '1.5.2']) expect(accepts(text), text).toBe(false)
  })

  it('are in range as doubles, whatever the bounds', () => {
    const random = new Random(4)
    for (let i = 0; i < 300; i++) {
      const any = () => (random.next() - 0.5) * 10 ** (random.below(30) - 12)
      const [low, high] = [any(), any()].sort((a, b) => a - b)
      const bounds: Bounds = random.chance(0.5)
        ? { minimum: low, maximum: high }
        : { exclusiveMinimum: low, exclusiveMaximum: high }
      let compiled: ReturnType<typeof compileConstraint>
      try {
        compiled = compileConstraint({ json: { type: 'number', ...bounds } }, byteTrie)
      } catch {
        continue // nothing of 15 digits between them
      }
      for (let j = 0; j < 5; j++) {
        const { text, isComplete } = randomWalk(compiled, byteTrie, random, { numFree: 40 })
        if (isComplete)
          expect(isWithin(Number(text), bounds), `${text} within ${JSON.stringify(bounds)}`).toBe(true)
      }
    }
  })

  it('are finite without bounds', () => {
    const accepts = acceptor({ json: { type: 'number' } })
    for (const text of ['0', '-0', '-1.5e-7', '999999999999999.5E99', '1e+5'])
      expect(accepts(text), text).toBe(true)
    for (const text of ['1e400', '1e', '--1', '.1', '1.e3']) expect(accepts(text), text).toBe(false)
  })

  it.each([
    [{ type: 'number', multipleOf: 0.01 }, 'ERR_UNSUPPORTED', '/multipleOf'],
    [{ type: 'integer', minimum: 3, maximum: 2 }, 'ERR_UNSATISFIABLE', 'json'],
    [{ type: 'integer', exclusiveMinimum: 3, exclusiveMaximum: 4 }, 'ERR_UNSATISFIABLE', 'json'],
    [{ type: 'integer', multipleOf: 10, minimum: 1, maximum: 9 }, 'ERR_UNSATISFIABLE', '/multipleOf'],
    [{ type: 'integer', multipleOf: 123457 }, 'ERR_UNSUPPORTED', '/multipleOf'],
  ] as const)('refuses %j', (json, code, place) => {
    expect(() => compileConstraint({ json }, byteTrie)).toThrow(expect.objectContaining({ code }))
    expect(() => compileConstraint({ json }, byteTrie)).toThrow(place)
  })
})
