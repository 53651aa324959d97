import { describe, expect, it } from 'vitest'
import { addon } from '#kvasir/native/addon.js'
import { pagedStep, randomHeads } from './attention-graph.js'
import { expectRefused } from './expect-refused.js'
import { KernelGraph } from './kernel-graph.js'
import type { NativeProgram } from './native-program.js'
import { caches, isas } from './native-program.js'

const options = { heads: 4, kvHeads: 2, headSize: 20 }
const numBlocks = 9
const tokens = 90

/** Two layers of different heads, of tokens that row n of random matrices belongs to. */
function twoLayers(): KernelGraph {
  const graph = new KernelGraph()
  const layer = (name: string, seed: number, kvHeads: number) => {
    const { q, k, v } = randomHeads(seed, tokens, { ...options, kvHeads })
    const matrix = (part: string, heads: number, rows: Float32Array) =>
      graph.activations(`${name}.${part}`, heads * options.headSize, rows)
    const inputs = [matrix('q', 4, q), matrix('k', kvHeads, k), matrix('v', kvHeads, v)] as const
    return graph.attention(name, ...inputs, { ...options, kvHeads })
  }
  graph.finish({ first: layer('first', 1, 2), second: layer('second', 2, 4) })
  return graph
}

const prompt = 70

/** Token `token` at a position, and what it attends to. */
const at = (program: NativeProgram, token: number, position: number, blocks: number[]) =>
  program.run(pagedStep([{ first: token, start: position, count: 1, blocks }]))

describe.each(caches)('copies of blocks in a cache of %s', (cacheDtype) => {
  const graph = twoLayers()
  const filled = (isa: string) => {
    const program = graph.program({ isa, cacheDtype, numBlocks, checked: false })
    program.run(pagedStep([{ first: 0, start: 0, count: prompt, blocks: [5, 0, 7] }]))
    return program
  }

  it.each(isas)('hold all layers’ keys and values (%s)', (isa) => {
    using program = filled(isa)
    const expected = at(program, 80, prompt, [5, 0, 7])
    program.copyBlocks(5, 8, 0, 2, 7, 1)
    expect(at(program, 80, prompt, [8, 2, 1])).toEqual(expected)
    expect(at(program, 80, prompt, [5, 2, 7])).toEqual(expected)
  })

  it.each(isas)('are apart from what they were made of (%s)', (isa) => {
    using program = filled(isa)
    using alone = filled(isa)
    program.copyBlocks(7, 3)
    // Two that go on from the same prompt, sharing its full blocks, in turn.
    const original = [80, 81, 82].map((token, i) => [
      at(program, token, prompt + i, [5, 0, 7]),
      at(program, token + 5, prompt + i, [5, 0, 3]),
    ])
    original.forEach(([first], i) => {
      expect(first).toEqual(at(alone, 80 + i, prompt + i, [5, 0, 7]))
    })
    original.forEach(([, second], i) => {
      expect(second).toEqual(at(alone, 85 + i, prompt + i, [5, 0, 7]))
    })
  })

  it.each(isas)('are made pair by pair (%s)', (isa) => {
    using program = filled(isa)
    const expected = at(program, 80, prompt, [5, 0, 7])
    program.copyBlocks(7, 1, 1, 2, 0, 1, 5, 0)
    expect(at(program, 80, prompt, [0, 1, 2])).toEqual(expected)
    program.copyBlocks()
  })
})

describe('copies of blocks', () => {
  it('are refused for blocks that are not there, before any is made', () => {
    for (const [program] of twoLayers().programs({ numBlocks, checked: false })) {
      program.run(pagedStep([{ first: 0, start: 0, count: prompt, blocks: [5, 0, 7] }]))
      const expected = at(program, 80, prompt, [5, 0, 7])
      for (const wrong of [-1, numBlocks, 2 ** 31 - 1, -(2 ** 31)]) {
        const message = /copyBlocks: pairs\[[23]\] must be from 0 to 8, got/
        expectRefused(() => program.copyBlocks(1, 5, wrong, 2), message)
        expectRefused(() => program.copyBlocks(1, 5, 2, wrong), message)
      }
      expectRefused(() => program.copyBlocks(1, 5, 4, 4), /pairs\[3\] must be another block, got 4/)
      expectRefused(() => program.copyBlocks(1, 5, 4), /pairs must have an even number of entries, got 3/)
      expect(at(program, 80, prompt, [5, 0, 7])).toEqual(expected)
    }
  })

  it('want an Int32Array, and a cache', () => {
    const backend = new (addon().Backend)({ threads: 1 })
    const layers = [{ kvHeads: 1, headSize: 8 }]
    const cache = new (addon().KvCache)(backend, { layers, numBlocks: 2, dtype: 'f32' })
    for (const wrong of [undefined, null, [0, 1], new Float32Array(2), new Uint32Array(2), {}]) {
      expect(() => cache.copyBlocks(wrong as never)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
      )
    }
    cache.copyBlocks(Int32Array.of(0, 1))
    cache.dispose()
    expect(() => cache.copyBlocks(Int32Array.of(0, 1))).toThrow(
      expect.objectContaining({ code: 'ERR_DISPOSED' }),
    )
  })
})
