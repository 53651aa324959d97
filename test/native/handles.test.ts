import { describe, expect, it } from 'vitest'
import { addon } from '#kvasir/native/addon.js'
import { errorOf, limits, ProgramFixture } from './program-fixture.js'

// biome-ignore lint/suspicious/noExplicitAny: what is wrong on purpose has no type
type Wrong = any

const type = 'ERR_INVALID_ARG_TYPE'
const value = 'ERR_INVALID_ARG_VALUE'

const fixture = new ProgramFixture('llama')
const { backend, store, cache, graph } = fixture
const handles: Record<string, Wrong> = {
  Backend: backend,
  WeightStore: store,
  KvCache: cache,
  Program: fixture.compile(),
}

/** Everything that is not the handle of a class. */
const impostors = (name: string): Wrong[] => [
  null,
  1,
  'handle',
  {},
  [],
  () => 1,
  Object.create(handles[name]),
  new Proxy(handles[name], {}),
  { ...handles[name] },
  new Float32Array(4),
  ...Object.entries(handles).flatMap(([other, handle]) => (other === name ? [] : [handle])),
]

describe('a program takes handles of their class alone', () => {
  const make = (changes: Wrong) => () => {
    const given = { backend, store, cache, ...changes }
    return new (addon().Program)(given.backend, given.store, given.cache, graph, limits)
  }

  it.each([
    ['backend', 'Backend'],
    ['store', 'WeightStore'],
    ['cache', 'KvCache'],
  ])('as its %s', (argument, name) => {
    for (const wrong of impostors(name)) {
      if (argument === 'cache' && wrong === null) continue
      fixture.expectRefused(
        make({ [argument]: wrong }),
        type,
        new RegExp(`Program: ${argument} must be a native ${name}`),
      )
    }
  })

  it('that are not disposed', () => {
    const own = new ProgramFixture('gpt2')
    const program = own.compile()
    const expected = own.run(program)
    for (const handle of [own.backend, own.store, own.cache]) handle.dispose()
    // What was made of them keeps them.
    expect(own.run(program)).toEqual(expected)
    own.expectIntact()
    for (const argument of ['backend', 'store', 'cache'] as const) {
      fixture.expectRefused(make({ [argument]: own[argument] }), 'ERR_DISPOSED', /is disposed/)
    }
    program.dispose()
    program.dispose()
    fixture.expectRefused(() => program.run({}, {}, null), 'ERR_DISPOSED', /Program is disposed/)
    fixture.expectRefused(() => program.bytes, 'ERR_DISPOSED')
    for (const act of [
      () => own.backend.isa,
      () => own.backend.threads,
      () => own.backend.probeArithmetic('f32'),
      () => own.store.bytes,
      () => own.store.checkComplete(),
      () => own.store.copyOut('wte.weight'),
      () => own.cache.bytes,
    ]) {
      fixture.expectRefused(act, 'ERR_DISPOSED')
    }
  })
})

describe.each(Object.keys(handles))('%s', (name) => {
  const Class = (addon() as Wrong)[name]

  it('has properties and methods for its own objects alone', () => {
    const members = Object.entries(Object.getOwnPropertyDescriptors(Class.prototype as object))
    const callable = members
      .filter(([member]) => member !== 'constructor')
      .map(([, { get, value }]) => get ?? value)
    expect(callable.length).toBeGreaterThan(1)
    for (const call of callable) {
      for (const wrong of impostors(name)) {
        const error = errorOf(() => call.call(wrong))
        expect(error, `${error}`).toBeInstanceOf(TypeError)
      }
    }
    fixture.expectIntact()
  })

  it('is made with new', () => {
    expect(() => Class({ threads: 1 })).toThrow(TypeError)
    expect(() => Class.call(handles[name], { threads: 1 })).toThrow(TypeError)
    for (const [other, handle] of Object.entries(handles)) {
      if (other === name) continue
      // An object of one class that looks like another.
      const made = errorOf(() => Reflect.construct(Class, constructorArguments(name), handle.constructor))
      expect(made, other).toBeUndefined()
    }
    fixture.expectIntact()
  })

  it("made for another class's prototype has none of its properties", () => {
    for (const [other, handle] of Object.entries(handles)) {
      if (other === name) continue
      const made = Reflect.construct(Class, constructorArguments(name), handle.constructor) as Record<
        string,
        unknown
      >
      for (const property of ['isa', 'name', 'threads', 'bytes']) {
        if (!(property in handle.constructor.prototype)) continue
        expect(errorOf(() => made[property])?.code, `${other}.${property}`).toBe(type)
      }
    }
    fixture.expectIntact()
  })
})

function constructorArguments(name: string): Wrong[] {
  if (name === 'Backend') return [{ threads: 1 }]
  if (name === 'KvCache') return [backend, { layers: [], numBlocks: 1, dtype: 'f32' }]
  return name === 'WeightStore' ? [] : [backend, store, cache, graph, limits]
}

describe('Backend', () => {
  const make = (options: Wrong) => () => new (addon().Backend)(options)

  it('wants a number of threads and a known instruction set', () => {
    for (const threads of [0, -1, 1.5, NaN, Infinity, 1025, 2 ** 40])
      fixture.expectRefused(make({ threads }), value)
    for (const threads of ['2', null, undefined, 2n, {}]) fixture.expectRefused(make({ threads }), type)
    for (const options of [null, undefined, 2]) fixture.expectRefused(make(options), type)
    fixture.expectRefused(make({ threads: 1, isa: 'neon' }), 'ERR_DEVICE', /neon/)
    fixture.expectRefused(make({ threads: 1, isa: 3 }), type)
    for (const isa of addon().cpuInfo().isas) expect(make({ threads: 1, isa })().isa).toBe(isa)
  })

  it('probes memory of any sensible size', () => {
    for (const bytes of [0, -1, NaN, 2 ** 41]) fixture.expectRefused(() => backend.probeRead(bytes), value)
    fixture.expectRefused(() => backend.probeRead('1' as Wrong), type)
    fixture.expectRefused(() => backend.probeRead(2 ** 40), 'ERR_OUT_OF_MEMORY')
    expect(backend.probeRead(1)).toBeGreaterThan(0)
  })
})

describe('KvCache', () => {
  const make = (changes: Wrong) => () =>
    new (addon().KvCache)(fixture.backend, {
      layers: [{ kvHeads: 1, headSize: 8 }],
      numBlocks: 2,
      dtype: 'f32',
      ...changes,
    })

  it('wants layers, blocks and a dtype', () => {
    for (const numBlocks of [0, -1, 1.5, NaN, 2 ** 24 + 1]) fixture.expectRefused(make({ numBlocks }), value)
    for (const layers of [null, undefined, {}, 'x', [null], [3], [{}], [{ kvHeads: '1', headSize: 8 }]]) {
      fixture.expectRefused(make({ layers }), type)
    }
    for (const layer of [
      { kvHeads: 0, headSize: 8 },
      { kvHeads: 4097, headSize: 8 },
      { kvHeads: 1, headSize: 0 },
      { kvHeads: 1, headSize: 257 },
      { kvHeads: 1.5, headSize: 8 },
    ]) {
      fixture.expectRefused(make({ layers: [layer] }), value)
    }
    for (const dtype of ['q4', 'i32', 'f64', '']) fixture.expectRefused(make({ dtype }), 'ERR_DTYPE')
    fixture.expectRefused(make({ dtype: undefined }), type)
    expect(make({ layers: [] })().bytes).toBe(0)
  })

  it('refuses more than there can be', () => {
    const layers = new Array(4096).fill({ kvHeads: 4096, headSize: 256 })
    fixture.expectRefused(make({ layers, numBlocks: 2 ** 24 }), 'ERR_OUT_OF_MEMORY')
    fixture.expectRefused(make({ layers: [...layers, ...layers], numBlocks: 1 }), value)
  })
})

describe('WeightStore', () => {
  const own = new (addon().WeightStore)()
  const declare = (changes: Wrong) => () =>
    own.declare({ name: 'w', dtype: 'f32', layout: 'rows', rows: 3, cols: 2, ...changes })

  it('wants tensors that it can hold', () => {
    for (const size of [0, -1, 1.5, NaN, 2 ** 41]) {
      fixture.expectRefused(declare({ rows: size }), value)
      fixture.expectRefused(declare({ cols: size }), value)
    }
    fixture.expectRefused(declare({ rows: 2 ** 40, cols: 2 ** 40 }), value)
    fixture.expectRefused(declare({ rows: 2 ** 40 }), 'ERR_OUT_OF_MEMORY')
    for (const dtype of ['i32', 'f64']) fixture.expectRefused(declare({ dtype }), 'ERR_DTYPE')
    fixture.expectRefused(declare({ layout: 'columns' }), value)
    for (const key of ['name', 'dtype', 'layout', 'rows', 'cols'])
      fixture.expectRefused(declare({ [key]: undefined }), type)
    for (const wrong of [null, undefined, 1]) fixture.expectRefused(() => own.declare(wrong as Wrong), type)
  })

  it('wants values that fit, once', () => {
    declare({ name: 'fits' })()
    expect(() => own.checkComplete()).toThrow(expect.objectContaining({ code: 'ERR_FILE_FORMAT' }))
    for (const length of [0, 5, 7, 1000]) {
      fixture.expectRefused(() => own.loadValues('fits', new Float32Array(length)), value)
    }
    for (const wrong of [null, undefined, [1, 2, 3, 4, 5, 6], new Float64Array(6), new Int32Array(6)]) {
      fixture.expectRefused(() => own.loadValues('fits', wrong as Wrong), type)
    }
    fixture.expectRefused(() => own.loadValues('none', new Float32Array(6)), value)
    fixture.expectRefused(() => own.copyOut('none'), value)
    fixture.expectRefused(() => own.copyOut(3 as Wrong), type)
    own.loadValues('fits', Float32Array.of(1, 2, 3, 4, 5, 6))
    fixture.expectRefused(() => own.loadValues('fits', new Float32Array(6)), value)
    fixture.expectRefused(declare({ name: 'fits' }), value)
    expect(Array.from(own.copyOut('fits'))).toEqual([1, 2, 3, 4, 5, 6])
    own.checkComplete()
  })
})
