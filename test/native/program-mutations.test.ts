import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { CodedError, FixtureName } from './program-fixture.js'
import { controlledInputs, fixtureNames, ProgramFixture } from './program-fixture.js'

// biome-ignore lint/suspicious/noExplicitAny: what is wrong on purpose has no type
type Wrong = any

// Not ERR_INTERNAL: that is a kernel that wrote where it may not, or an error without a class.
const codes = [
  'ERR_INVALID_ARG_TYPE',
  'ERR_INVALID_ARG_VALUE',
  'ERR_SHAPE',
  'ERR_DTYPE',
  'ERR_OUT_OF_MEMORY',
  'ERR_NUMERIC',
]

/** What `act` gives, or undefined where it throws a typed error. Anything else fails the test. */
function typed<T>(act: () => T): T | undefined {
  try {
    return act()
  } catch (error) {
    expect(codes, `${error}`).toContain((error as CodedError).code)
    return undefined
  }
}

const ops = [
  'embedding',
  'linear',
  'rms-norm',
  'rope',
  'slice',
  'scale',
  'softcap',
  'experts',
  'gather-rows',
  'kv-append',
  'attention',
  'sample',
  'adjust-logits',
  'top-logits',
]
const words = [
  '',
  'N',
  'R',
  'S',
  'S+1',
  'W',
  'R+1',
  'E',
  'M',
  'f32',
  'f16',
  'bf16',
  'i32',
  'rows',
  'panels',
  'input',
  'weight',
  'constant',
]
const numbers = [
  -1,
  0,
  1,
  2,
  3,
  4,
  7,
  8,
  16,
  24,
  31,
  32,
  33,
  50,
  64,
  96,
  1000,
  2 ** 20,
  2 ** 31,
  2 ** 40,
  2 ** 53,
  0.5,
]

const hostile: fc.Arbitrary<Wrong> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...numbers, 1e308, NaN, Infinity, -Infinity) },
  { weight: 3, arbitrary: fc.nat(40) },
  { weight: 2, arbitrary: fc.constantFrom(...words, 'result', 'tokens', 'positions', 'queryStarts', ...ops) },
  { weight: 1, arbitrary: fc.constantFrom(undefined, null, true, false, [], {}, 1n) },
  { weight: 1, arbitrary: fc.array(fc.oneof(fc.nat(40), fc.constantFrom('N', 'R')), { maxLength: 3 }) },
)

interface Mutation {
  how: 'replace' | 'delete' | 'copy' | 'swap' | 'add'
  at: number
  from: number
  value: Wrong
}

const mutation: fc.Arbitrary<Mutation> = fc.record({
  how: fc.constantFrom('replace', 'replace', 'delete', 'copy', 'swap', 'add'),
  at: fc.nat(),
  from: fc.nat(),
  value: hostile,
})

interface Place {
  holder: Wrong
  key: string
}

/** Every property of an object and of what it holds. */
function placesIn(holder: Wrong): Place[] {
  if (holder === null || typeof holder !== 'object' || ArrayBuffer.isView(holder)) return []
  return Object.keys(holder).flatMap((key) => [{ holder, key }, ...placesIn(holder[key])])
}

/** Changes one thing somewhere in `description`: mostly the small things, as there are more of them. */
function mutate(description: Wrong, { how, at, from, value }: Mutation): void {
  const places = placesIn(description)
  if (places.length === 0) return
  const [{ holder, key }, other] = [places[at % places.length], places[from % places.length]]
  if (how === 'replace') holder[key] = value
  if (how === 'delete') delete holder[key]
  // A copy, since a description may not hold itself.
  if (how === 'copy') holder[key] = structuredClone(other.holder[other.key])
  if (how === 'swap')
    [holder[key], other.holder[other.key]] = structuredClone([other.holder[other.key], holder[key]])
  if (how === 'add') holder[Array.isArray(holder) ? holder.length : 'z'] = value
}

describe.each(fixtureNames)('mutations of %s', (name: FixtureName) => {
  const fixture = new ProgramFixture(name)

  it('of the description are refused or run', () => {
    let compiled = 0
    let ran = 0
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 3 }), (mutations) => {
        const description = structuredClone(fixture.graph)
        for (const one of mutations) mutate(description, one)
        const program = typed(() => fixture.compile(description))
        if (!program) return
        compiled++
        if (typed(() => program.run(controlledInputs(), fixture.outputs(), null))) ran++
        program.dispose()
      }),
      { numRuns: 1500, seed: 1 },
    )
    // Some are harmless: names, values that nothing reads. Most are not.
    expect(compiled).toBeLessThan(1000)
    expect(ran).toBeGreaterThan(20)
    fixture.expectIntact()
  })

  it('of a step are refused or run', () => {
    const program = fixture.compile()
    const entry = fc.oneof(fc.integer(), fc.integer({ min: -2, max: 70 }), fc.double({ noNaN: false }))
    const change = fc.record({
      table: fc.constantFrom(...Object.keys(controlledInputs())),
      at: fc.nat(),
      entry,
      length: fc.option(fc.nat(40), { freq: 5 }),
    })
    let ran = 0
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        const inputs = controlledInputs()
        for (const { table, at, entry, length } of changes) {
          const own = inputs[table]
          if (length !== null)
            inputs[table] = (own.constructor as Int32ArrayConstructor).from({ length }, (_, i) => own[i])
          if (inputs[table].length > 0) inputs[table][at % inputs[table].length] = entry
        }
        if (typed(() => program.run(inputs, fixture.outputs(), null))) ran++
      }),
      { numRuns: 1500, seed: 2 },
    )
    expect(ran).toBeGreaterThan(30)
    expect(ran).toBeLessThan(1400)
    fixture.expectIntact()
  })
})
