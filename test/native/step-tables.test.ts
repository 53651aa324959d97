import { describe, expect, it } from 'vitest'
import type { Arrays } from './program-fixture.js'
import { limits, numBlocks, ProgramFixture, stepInputs, vocabSize } from './program-fixture.js'

// biome-ignore lint/suspicious/noExplicitAny: what is wrong on purpose has no type
type Wrong = any

const fixture = new ProgramFixture('llama')
const program = fixture.compile()

const type = 'ERR_INVALID_ARG_TYPE'
const value = 'ERR_INVALID_ARG_VALUE'
const shape = 'ERR_SHAPE'

/** A valid step with some tables changed. */
function step(changes: Record<string, Wrong> = {}): Wrong {
  return { ...stepInputs(), ...changes }
}

function expectRefused(inputs: Wrong, code: string | RegExp, message?: RegExp): void {
  fixture.expectRefused(() => program.run(inputs, fixture.outputs(), null), code, message)
}

const tables = Object.keys(stepInputs())

describe.each(tables)('table %s', (name) => {
  const own = stepInputs()[name]

  it('must be there', () => {
    const without = step()
    delete without[name]
    expectRefused(without, type, new RegExp(`${name} is missing`))
  })

  it('must be of its type', () => {
    const other = own instanceof Int32Array ? Float32Array.from(own) : Int32Array.from(own)
    expectRefused(step({ [name]: other }), 'ERR_DTYPE', new RegExp(name))
    const wrong = [null, undefined, 1, '1', {}, Array.from(own), own.buffer, new DataView(own.buffer)]
    const typed = [Uint32Array, Int16Array, Uint8Array, Uint8ClampedArray, Float64Array].map((A) =>
      A.from(own),
    )
    for (const found of [...wrong, ...typed, new BigInt64Array(own.length)]) {
      expectRefused(step({ [name]: found }), type, new RegExp(name))
    }
  })

  it('must be of its length', () => {
    const A = own.constructor as Int32ArrayConstructor
    for (const length of [0, own.length - 1, own.length + 1, 2 * own.length + 1, 1000]) {
      const other = A.from({ length }, (_, i) => own[i] ?? 0)
      expectRefused(step({ [name]: other }), /VALUE|SHAPE/)
    }
  })
})

const ints = (...numbers: number[]) => Int32Array.from(numbers)
const floats = (...numbers: number[]) => Float32Array.from(numbers)
const intMax = 2 ** 31 - 1
const intMin = -(2 ** 31)

const faults: [string, string | RegExp, Record<string, Wrong>, RegExp][] = [
  ...[-1, vocabSize, intMax, intMin].map((id): (typeof faults)[number] => [
    `token ${id}`,
    value,
    { tokens: ints(1, 2, 3, id, 0, 7, 8) },
    /tokens\[3\] must be from 0 to 49/,
  ]),
  ...[-1, intMax, intMin].map((position): (typeof faults)[number] => [
    `position ${position}`,
    value,
    { positions: ints(0, 1, 2, 3, 4, 0, position) },
    /positions\[6\]/,
  ]),
  ...[-1, 7, intMax].map((row): (typeof faults)[number] => [
    `output row ${row}`,
    value,
    { outputRows: ints(6, row, 0) },
    /outputRows\[1\] must be from 0 to 6/,
  ]),
  ['query starts after 0', value, { queryStarts: ints(1, 5, 7) }, /queryStarts\[0\] must be 0/],
  ['query starts before 0', value, { queryStarts: ints(-1, 5, 7) }, /queryStarts\[0\] must be 0/],
  ['query starts that go back', value, { queryStarts: ints(0, 8, 7) }, /queryStarts\[1\]/],
  ['a sequence without tokens', value, { queryStarts: ints(0, 5, 5) }, /queryStarts\[2\] must be from 6/],
  ['query starts of fewer tokens', value, { queryStarts: ints(0, 5, 6) }, /queryStarts\[2\] must be 7/],
  ['query starts of more tokens', value, { queryStarts: ints(0, 5, 8) }, /queryStarts\[2\]/],
  ['query starts far off', value, { queryStarts: ints(0, intMax, 7) }, /queryStarts\[1\]/],
  ['query starts far below', value, { queryStarts: ints(0, intMin, 7) }, /queryStarts\[1\]/],
  [
    'a context shorter than its queries',
    value,
    { contextLengths: ints(4, 2) },
    /contextLengths\[0\] must be from 5/,
  ],
  ['an empty context', value, { contextLengths: ints(5, 0) }, /contextLengths\[1\]/],
  ['a negative context', value, { contextLengths: ints(5, -2) }, /contextLengths\[1\]/],
  [
    'a context longer than its table',
    value,
    { contextLengths: ints(65, 2) },
    /contextLengths\[0\] must be from 5 to 64/,
  ],
  ['the longest context', value, { contextLengths: ints(5, intMax) }, /contextLengths\[1\]/],
  ['a context in a block that is not there', value, { contextLengths: ints(33, 2) }, /blockTables\[1\]/],
  ['block -1', value, { blockTables: ints(-1, 0, 2, 0) }, /blockTables\[0\] must be from 0 to 7/],
  ['the block past the last', value, { blockTables: ints(6, 0, numBlocks, 0) }, /blockTables\[2\]/],
  ['the last number for a block', value, { blockTables: ints(intMax, 0, 2, 0) }, /blockTables\[0\]/],
  ['the first number for a block', value, { blockTables: ints(6, 0, intMin, 0) }, /blockTables\[2\]/],
  ['tables of unequal width', shape, { blockTables: ints(6, 0, 2) }, /blockTables/],
  [
    'tables too wide',
    value,
    { blockTables: new Int32Array(2 * (limits.maxBlocks + 1)) },
    /W must be from 1 to 3/,
  ],
  ['seeds of one word', shape, { seed: ints(1, 2, 3) }, /seed/],
  ...[NaN, -1, -1e-9, Infinity, -Infinity, 1.1e6].map((temperature): (typeof faults)[number] => [
    `temperature ${temperature}`,
    value,
    { temperature: floats(0, temperature, 0.5) },
    /temperature\[1\]/,
  ]),
  ...[NaN, 0, -0.5, 1.01, Infinity].map((topP): (typeof faults)[number] => [
    `top-p ${topP}`,
    value,
    { topP: floats(1, 0.9, topP) },
    /topP\[2\]/,
  ]),
  ...[NaN, -0.1, 1.01, Infinity].map((minP): (typeof faults)[number] => [
    `min-p ${minP}`,
    value,
    { minP: floats(minP, 0, 0) },
    /minP\[0\]/,
  ]),
  ...[-1, intMin].map((topK): (typeof faults)[number] => [
    `top-k ${topK}`,
    value,
    { topK: ints(topK, 0, 0) },
    /topK\[0\]/,
  ]),
  ['counter -1', value, { counter: ints(0, 0, -1) }, /counter\[2\]/],
]

describe('a step', () => {
  it.each(faults)('with %s', (_, code, changes, message) => {
    expectRefused(step(changes), code, message)
  })

  it('larger than its limits', () => {
    const one = (count: number) => new Int32Array(count)
    const tokens = limits.maxTokens + 1
    const large = {
      tokens: one(tokens),
      positions: one(tokens),
      queryStarts: ints(0, 5, tokens),
      contextLengths: ints(5, tokens - 5),
    }
    expectRefused(step(large), value, /N must be from 1 to 16, got 17/)
    const rows = limits.maxRows + 1
    const settings = { outputRows: one(rows), topK: one(rows), counter: one(rows), seed: one(2 * rows) }
    const ones = new Float32Array(rows).fill(1)
    expectRefused(
      step({ ...settings, temperature: ones, topP: ones, minP: ones }),
      value,
      /R must be from 1 to 8, got 9/,
    )
    const sequences = {
      queryStarts: ints(0, 1, 2, 3, 4, 7),
      contextLengths: ints(1, 1, 1, 1, 3),
      blockTables: ints(0, 1, 2, 3, 4),
    }
    expectRefused(step(sequences), value, /S must be from 1 to 4, got 5/)
  })

  it('of nothing', () => {
    const empty = Object.fromEntries(
      Object.entries(stepInputs()).map(([name, array]) => [name, array.slice(0, 0)]),
    )
    expectRefused(empty, /VALUE|SHAPE/)
    expectRefused({ ...empty, queryStarts: ints(0) }, /VALUE|SHAPE/)
    expectRefused({}, type)
  })

  it('whose arguments are no objects', () => {
    for (const wrong of [null, undefined, 1, 'tokens']) {
      fixture.expectRefused(() => program.run(wrong as Wrong, {}, null), type)
      fixture.expectRefused(() => program.run(step(), wrong as Wrong, null), type)
    }
    fixture.expectRefused(() => (program.run as Wrong)(), type)
  })

  it('may have unused entries of any number, tables of any name and more', () => {
    const unused = step({ blockTables: ints(6, intMax, 2, intMin), other: new Float32Array(3) })
    expect(fixture.run(program, unused)).toEqual(fixture.run(program))
    expect(program.run(step(), {}, null)).toBe(true)
  })
})

describe('the outputs of a step', () => {
  const run =
    (changes: Wrong, abort: Wrong = null) =>
    () =>
      program.run(step(), { ...fixture.outputs(), ...changes }, abort)

  it('must be known, of their type, and of their length at least', () => {
    fixture.expectRefused(run({ logits: new Float32Array(150) }), value, /no output logits/)
    fixture.expectRefused(run({ ids: new Float32Array(3) }), shape, /output ids must be 3 elements of i32/)
    fixture.expectRefused(run({ logprobs: new Int32Array(3) }), shape)
    fixture.expectRefused(run({ ids: new Int32Array(2) }), shape)
    fixture.expectRefused(run({ ids: new Int32Array(0) }), shape)
    for (const wrong of [
      null,
      undefined,
      [0, 0, 0],
      new ArrayBuffer(12),
      new Float64Array(3),
      new BigInt64Array(3),
    ]) {
      fixture.expectRefused(run({ ids: wrong }), type, /outputs.ids/)
    }
  })

  it('are written as far as they go, within their buffers', () => {
    const expected = fixture.run(program)
    const whole = new Float32Array(20).fill(7)
    const ids = new Int32Array(20).fill(7)
    expect(program.run(step(), { ids: ids.subarray(5), logprobs: whole.subarray(3, 6) }, null)).toBe(true)
    expect(Array.from(ids)).toEqual([7, 7, 7, 7, 7, ...expected.ids, ...new Array(12).fill(7)])
    expect(Array.from(whole)).toEqual([7, 7, 7, ...expected.logprobs, ...new Array(14).fill(7)])
  })

  it('may be the arrays that the inputs are in', () => {
    const expected = fixture.run(program)
    const inputs = stepInputs()
    expect(program.run(inputs, { ids: inputs.outputRows, logprobs: inputs.topP } as Arrays, null)).toBe(true)
    expect([inputs.outputRows, inputs.topP]).toEqual([expected.ids, expected.logprobs])
  })

  it('stay as they were when the step is aborted, refused or without an answer', () => {
    const outputs = { ids: new Int32Array(3).fill(9), logprobs: new Float32Array(3).fill(9) }
    const expectUntouched = () => expect([...outputs.ids, ...outputs.logprobs]).toEqual([9, 9, 9, 9, 9, 9])
    expect(program.run(step(), outputs, Int32Array.of(1))).toBe(false)
    expectUntouched()
    expect(program.run(step(), outputs, new Int32Array(new SharedArrayBuffer(4)).fill(-5))).toBe(false)
    expectUntouched()
    fixture.expectRefused(() => program.run(step({ tokens: ints(1) }), outputs, null), /VALUE|SHAPE/)
    expectUntouched()
    expect(program.run(step(), outputs, Int32Array.of(0, 1))).toBe(true)
    expect(outputs).toEqual(fixture.run(program))
  })

  it('want an abort flag that is an Int32Array or null', () => {
    for (const wrong of [new Int32Array(0), new Uint32Array(1), new Float32Array(1), [0], 0, {}, 'x']) {
      fixture.expectRefused(run({}, wrong), type, /abort/)
    }
    expect(program.run(step(), fixture.outputs(), undefined as Wrong)).toBe(true)
  })

  it('cannot be taken away by a getter that detaches a table', () => {
    const detach = (buffer: ArrayBufferLike) => structuredClone(buffer, { transfer: [buffer as ArrayBuffer] })
    for (const name of tables) {
      const inputs = step()
      const own: ArrayBufferLike = inputs[name].buffer
      const trap = {
        get later() {
          detach(own)
          return new Int32Array(1)
        },
      }
      const merged = Object.defineProperties({ ...inputs }, Object.getOwnPropertyDescriptors(trap))
      expectRefused(merged, /VALUE|SHAPE/)
    }
    const outputs = fixture.outputs()
    const trap = {
      ...outputs,
      get later() {
        detach(outputs.ids.buffer)
        return new Int32Array(1)
      },
    }
    fixture.expectRefused(() => program.run(step(), trap as Wrong, null), /VALUE|SHAPE/)
  })
})
