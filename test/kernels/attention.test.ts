import { describe, expect, it } from 'vitest'
import type { AttentionOptions } from '../graph/graph-builder.js'
import { Random } from '../graph/random.js'
import type { StepInputs } from '../graph/steps.js'
import type { Chunk, Heads } from './attention-graph.js'
import { attentionGraph, pagedStep, randomHeads, shuffledBlocks } from './attention-graph.js'
import type { KernelGraph } from './kernel-graph.js'
import { rowsOf } from './kernel-graph.js'
import type { CacheType } from './native-program.js'
import { caches, isas, threadCounts } from './native-program.js'
import { difference, nmse, roundToCache } from './numbers.js'

const alibi = (heads: number) => Array.from({ length: heads }, (_, h) => 2 ** (-8 * ((h + 1) / heads)))

const shape = (heads: number, kvHeads: number, headSize: number, rest = {}): AttentionOptions => ({
  heads,
  kvHeads,
  headSize,
  ...rest,
})

/** Every head size and rule, in turn with one, some and all heads sharing keys. */
const variants: AttentionOptions[] = [
  shape(2, 2, 8),
  shape(4, 2, 10, { window: 33 }),
  shape(4, 1, 16, { slopes: alibi(4) }),
  shape(3, 3, 17, { softcap: 3 }),
  shape(6, 2, 24, { window: 1 }),
  shape(2, 1, 32, { scale: 0.4, window: 32 }),
  shape(2, 2, 40, { slopes: alibi(2), window: 40 }),
  shape(4, 2, 64, { softcap: 1.5, slopes: alibi(4) }),
  shape(5, 1, 64),
  shape(3, 3, 80, { window: 64 }),
  shape(2, 1, 96, { softcap: 30, window: 7 }),
  shape(4, 2, 128, { slopes: alibi(4) }),
  shape(2, 1, 192),
  shape(2, 2, 256, { window: 31 }),
  shape(4, 1, 256, { softcap: 5, slopes: alibi(4), window: 50 }),
  // Heads of one token that do not fit a tile together.
  shape(100, 1, 8),
  shape(64, 2, 12, { window: 20 }),
]

/** `4 of 2 x 64, window 33` */
const nameOf = ({ heads, kvHeads, headSize, ...rules }: AttentionOptions) => {
  const named = Object.entries(rules).map(([key, value]) => `, ${key}${key === 'slopes' ? '' : ` ${value}`}`)
  return `${heads} of ${kvHeads} x ${headSize}${named.join('')}`
}
const named = variants.map((options) => [nameOf(options), options] as const)

/** Several sequences in random blocks: prompts, then single tokens beside more of a prompt, then single tokens. */
function mixedSteps(seed: number): StepInputs[] {
  const blocks = shuffledBlocks(seed)
  const sequences = [0, 1, 2, 3].map((s) => ({
    first: 33 * s,
    start: 0,
    blocks: blocks.slice(8 * s, 8 * s + 8),
  }))
  const steps: StepInputs[] = []
  for (const counts of [
    [33, 1, 70],
    [1, 5, 40, 13],
    [1, 1, 1, 31],
    [1, 32, 1, 1],
    [1, 1, 1, 1],
  ]) {
    const chunks = counts.map((count, s) => ({ ...sequences[s], count }))
    counts.forEach((count, s) => {
      sequences[s].start += count
      sequences[s].first += count
    })
    steps.push(pagedStep(chunks))
  }
  return steps
}

const mixedTokens = 280

describe('attention', () => {
  it.each(named)("is the interpreter's for %s", (_, options) => {
    const graph = attentionGraph(randomHeads(options.headSize, mixedTokens, options), options)
    const truth = graph.interpreter()
    const steps = mixedSteps(options.headSize)
    const expected = steps.map((step) => truth.run(step).y)
    for (const threads of threadCounts(1, 3)) {
      for (const [program, isa] of graph.programs({ threads, maxTokens: 110 })) {
        steps.forEach((step, i) => {
          const error = nmse(program.run(step).y, expected[i])
          expect(error, `${isa}, ${threads} threads, step ${i}`).toBeLessThan(1e-12)
        })
      }
    }
  })

  const rounding = caches
    .filter((type) => type !== 'f32')
    .flatMap((type) => named.map(([name, options]) => [type, name, options] as const))
  it.each(rounding)(
    'with a cache in %s adds to its rounding almost nothing, for %s',
    (cacheDtype, _, options) => {
      const heads = randomHeads(options.headSize + 1, mixedTokens, options)
      const round = (numbers: Float32Array) => roundToCache(cacheDtype, numbers, options.headSize)
      const rounded: Heads = { ...heads, k: round(heads.k), v: round(heads.v) }
      const steps = mixedSteps(options.headSize)
      const exact = attentionGraph(heads, options)
      const plain = attentionGraph(rounded, options)
      const [truth, plainTruth] = [exact.interpreter(), plain.interpreter()]
      const expected = steps.map((step) => ({ exact: truth.run(step).y, plain: plainTruth.run(step).y }))
      for (const [program, isa] of exact.programs({ cacheDtype, threads: 2, maxTokens: 110 })) {
        using ofRounded = plain.program({ isa, cacheDtype, threads: 2, maxTokens: 110 })
        steps.forEach((step, i) => {
          const { y } = program.run(step)
          const ofRounding = nmse(expected[i].plain, expected[i].exact)
          expect(nmse(y, expected[i].exact), `${isa}, step ${i}`).toBeLessThanOrEqual(1.01 * ofRounding)
          expect(nmse(y, expected[i].plain), `${isa}, step ${i}`).toBeLessThan(1e-12)
          // What 16 bits hold already is stored as it is; a scale of 8 bits may be another one.
          if (cacheDtype !== 'q8') expect(difference(ofRounded.run(step).y, y), `${isa}, step ${i}`).toBe('')
        })
      }
    },
  )
})

/** One sequence's steps, by the number of tokens in each. */
function chunked(total: number, size: number, blocks: readonly number[]): StepInputs[] {
  const starts = Array.from({ length: Math.ceil(total / size) }, (_, i) => i * size)
  return starts.map((start) =>
    pagedStep([{ first: start, start, count: Math.min(size, total - start), blocks }]),
  )
}

/** Runs steps one after another and gives all rows of `y`. */
function runAll(graph: KernelGraph, steps: readonly StepInputs[], options: object): Float32Array {
  const maxTokens = Math.max(...steps.map((step) => step.tokens.length))
  using program = graph.program({ ...options, maxTokens, checked: maxTokens > 1 })
  return Float32Array.from(steps.flatMap((step) => Array.from(program.run(step).y)))
}

describe('a prompt in chunks has the bits of the whole prompt', () => {
  const cases: { options: AttentionOptions; cacheDtype: CacheType }[] = [
    { options: shape(2, 2, 16), cacheDtype: 'f32' },
    { options: shape(4, 2, 17, { window: 40, slopes: alibi(4), softcap: 4 }), cacheDtype: 'f32' },
    { options: shape(5, 1, 64), cacheDtype: 'bf16' },
    { options: shape(3, 3, 33), cacheDtype: 'f16' },
    { options: shape(4, 1, 17, { window: 70, softcap: 9 }), cacheDtype: 'q8' },
    { options: shape(2, 1, 40, { window: 129, slopes: alibi(2) }), cacheDtype: 'bf16' },
  ]
  const namedCases = cases
    .filter((one) => caches.includes(one.cacheDtype))
    .map((one) => [`${nameOf(one.options)} in ${one.cacheDtype}`, one] as const)

  it.each(namedCases)('%s', (_, { options, cacheDtype }) => {
    const total = 200
    const graph = attentionGraph(randomHeads(3, total, options), options)
    const truth = graph.interpreter().run(chunked(total, total, shuffledBlocks(1))[0]).y
    for (const isa of isas) {
      const whole = runAll(graph, chunked(total, total, shuffledBlocks(1)), { isa, cacheDtype, threads: 1 })
      expect(nmse(whole, truth), isa).toBeLessThan(cacheDtype === 'f32' ? 1e-12 : 1e-4)
      for (const threads of threadCounts(1, 2, 3)) {
        for (const size of [1, 7, 31, 32, 33, 64, 100, total]) {
          const steps = chunked(total, size, shuffledBlocks(size))
          const found = runAll(graph, steps, { isa, cacheDtype, threads })
          expect(difference(found, whole), `${isa}, ${threads} threads, chunks of ${size}`).toBe('')
        }
      }
    }
  })

  const long = [
    shape(2, 1, 16),
    shape(1, 1, 24, { window: 700 }),
    shape(3, 1, 8, { slopes: alibi(3), softcap: 9 }),
  ]
  it.each(long.map((options) => [nameOf(options), options] as const))('long, %s', (_, options) => {
    const total = 1200
    const graph = attentionGraph(randomHeads(4, total, options), options)
    const interpreter = graph.interpreter()
    const truth = interpreter.run(chunked(total, total, shuffledBlocks(1))[0]).y
    // Single tokens at the end, where segments of keys are shared among threads.
    const pieces = (blocks: readonly number[], sizes: readonly number[]) => {
      let start = 0
      return sizes.map((count) => {
        const step = pagedStep([{ first: start, start, count, blocks }])
        start += count
        return step
      })
    }
    for (const isa of isas) {
      const whole = runAll(graph, chunked(total, total, shuffledBlocks(1)), { isa, threads: 1 })
      expect(nmse(whole, truth), isa).toBeLessThan(1e-12)
      for (const threads of threadCounts(1, 2, 3)) {
        for (const sizes of [[total], [1024, 170, 1, 1, 1, 1, 1, 1], [600, 599, 1], [511, 1, 1, 1, 686]]) {
          const found = runAll(graph, pieces(shuffledBlocks(threads), sizes), { isa, threads })
          expect(difference(found, whole), `${isa}, ${threads} threads, chunks ${sizes}`).toBe('')
        }
      }
    }
  })
})

describe('a token has the same bits in any company', () => {
  const options = shape(4, 2, 24, { window: 90 })
  const graph = attentionGraph(randomHeads(5, 600, options), options)

  it.each(caches)('of prompts and single tokens, cache in %s', (cacheDtype) => {
    const lengths = [1, 64, 130, 33, 5, 97]
    for (const isa of isas) {
      // Each sequence alone: its prompt, then three tokens.
      const alone = lengths.map((length, s) => {
        const blocks = shuffledBlocks(s)
        const at = (start: number, count: number): Chunk => ({ first: 100 * s + start, start, count, blocks })
        const steps = [at(0, length), at(length, 1), at(length + 1, 1), at(length + 2, 1)].map((c) =>
          pagedStep([c]),
        )
        return runAll(graph, steps, { isa, cacheDtype, threads: 1 })
      })
      for (const threads of threadCounts(1, 2, 3)) {
        using program = graph.program({ isa, cacheDtype, threads, maxTokens: 330 })
        const random = new Random(threads)
        const free = shuffledBlocks(77)
        const blocks = lengths.map((length) => free.splice(0, Math.ceil((length + 3) / 32)))
        const done = lengths.map(() => 0)
        // A sequence enters at any step; its prompt comes whole or in parts.
        while (done.some((count, s) => count < lengths[s] + 3)) {
          const left = lengths.map((length, s) =>
            done[s] < length ? length - done[s] : Math.min(1, length + 3 - done[s]),
          )
          const chosen = random
            .shuffle(lengths.map((_, s) => s))
            .filter((s) => left[s] > 0 && random.chance(0.7))
          if (chosen.length === 0) continue
          const chunks = chosen.map((s): Chunk => {
            const count = random.chance(0.5) ? left[s] : random.integer(1, left[s])
            return { first: 100 * s + done[s], start: done[s], count, blocks: blocks[s] }
          })
          const y = program.run(pagedStep(chunks)).y as Float32Array
          let row = 0
          chunks.forEach(({ start, count }, i) => {
            const s = chosen[i]
            const expected = rowsOf(alone[s], 96, count, start)
            const where = `${isa}, ${threads} threads, sequence ${s}, ${count} tokens from ${start}`
            expect(difference(rowsOf(y, 96, count, row), expected), where).toBe('')
            row += count
            done[s] += count
          })
        }
      }
    }
  })
})

describe('attention at the edges', () => {
  const single = (count: number, blocks = shuffledBlocks(1)) => [
    pagedStep([{ first: 0, start: 0, count, blocks }]),
  ]

  it.each([1, 2, 31, 32, 33, 127, 128, 129, 160, 161, 1000, 2 ** 31])(
    'sees a window of %i positions',
    (window) => {
      const options = shape(2, 1, 9, { window })
      const graph = attentionGraph(randomHeads(window % 97, 160, options), options)
      const truth = graph.interpreter().run(single(160)[0]).y
      for (const [program, isa] of graph.programs({ maxTokens: 160 })) {
        expect(nmse(program.run(single(160)[0]).y, truth), isa).toBeLessThan(1e-12)
      }
    },
  )

  it('gives back a single value exactly', () => {
    const options = shape(4, 2, 21, { window: 1 })
    const heads = randomHeads(6, 70, options, 100)
    const graph = attentionGraph(heads, options)
    for (const cacheDtype of caches) {
      const values = roundToCache(cacheDtype, heads.v, 21)
      const expected = Array.from({ length: 70 * 84 }, (_, i) => {
        const [n, h, d] = [Math.floor(i / 84), Math.floor((i % 84) / 21), i % 21]
        return values[n * 42 + Math.floor(h / 2) * 21 + d]
      })
      for (const [program, isa] of graph.programs({ cacheDtype, maxTokens: 70 })) {
        expect(difference(program.run(single(70)[0]).y, expected), `${isa}, ${cacheDtype}`).toBe('')
      }
    }
  })

  const extremeRules = [
    { scale: 0 },
    { scale: -1 },
    { scale: 50 },
    { scale: 1e-30 },
    { scale: 3, softcap: 0.01 },
    { scale: 3, softcap: 1e6 },
    { scale: 100, softcap: 20 },
    { slopes: [1e4, -1e4] },
    { slopes: [0, 1e-30] },
    { slopes: [-0.5, 0.5], window: 140, softcap: 2 },
  ]
  it.each(extremeRules.map((rule) => [JSON.stringify(rule), rule] as const))('takes %s', (_, rule) => {
    const options = shape(2, 2, 20, rule)
    const graph = attentionGraph(randomHeads(7, 150, options), options)
    const truth = graph.interpreter().run(single(150)[0]).y
    // A score of some hundreds is off by a hundred thousandth.
    const allowed = (rule.scale ?? 0) >= 50 && !rule.softcap ? 1e-9 : 1e-12
    for (const [program, isa] of graph.programs({ maxTokens: 150 })) {
      expect(nmse(program.run(single(150)[0]).y, truth), isa).toBeLessThan(allowed)
    }
  })

  it('takes large and tiny queries, keys and values', () => {
    const options = shape(2, 2, 16)
    for (const [q, k, v] of [
      [1e-20, 1e-20, 1],
      [1e15, 1e-15, 1],
      [1e-15, 1e15, 1e30],
      [1, 1, 1e-38],
      [0, 1, 1],
      [1, 0, 1],
      [1, 1, 0],
    ]) {
      const heads = randomHeads(8, 100, options, 1)
      const scaled = {
        q: heads.q.map((x) => x * q),
        k: heads.k.map((x) => x * k),
        v: heads.v.map((x) => x * v),
      }
      const graph = attentionGraph(scaled, options)
      const truth = graph.interpreter().run(single(100)[0]).y
      for (const [program, isa] of graph.programs({ maxTokens: 100 })) {
        // Subnormal values have fewer digits.
        const allowed = v > 0 && v < 1e-37 ? 1e-9 : 1e-12
        expect(nmse(program.run(single(100)[0]).y, truth), `${isa}, ${q}, ${k}, ${v}`).toBeLessThan(allowed)
      }
    }
  })

  it('keeps a NaN within the query that has it', () => {
    const options = shape(4, 2, 16)
    const heads = randomHeads(9, 50, options)
    const clean = attentionGraph(heads, options)
    // In head 2 of token 20.
    const spoilt = attentionGraph({ ...heads, q: heads.q.with(20 * 64 + 2 * 16 + 5, NaN) }, options)
    for (const [program, isa] of clean.programs({ maxTokens: 50 })) {
      using other = spoilt.program({ isa, maxTokens: 50 })
      const expected = (program.run(single(50)[0]).y as Float32Array).slice()
      expected.fill(NaN, 20 * 64 + 2 * 16, 20 * 64 + 3 * 16)
      expect(difference(other.run(single(50)[0]).y, expected), isa).toBe('')
    }
  })

  it('keeps a NaN or infinity in a key from the tokens before it', () => {
    const options = shape(2, 1, 16)
    const heads = randomHeads(10, 50, options)
    const clean = attentionGraph(heads, options)
    for (const bad of [NaN, Infinity]) {
      const spoilt = attentionGraph({ ...heads, k: heads.k.with(20 * 16 + 3, bad) }, options)
      for (const [program, isa] of clean.programs({ maxTokens: 50 })) {
        using other = spoilt.program({ isa, maxTokens: 50 })
        const [expected, found] = [program, other].map((p) => p.run(single(50)[0]).y as Float32Array)
        expect(difference(rowsOf(found, 32, 20), rowsOf(expected, 32, 20)), `${isa}, ${bad}`).toBe('')
      }
    }
  })

  it('keeps a NaN or infinity in a value within its sequence', () => {
    const options = shape(2, 1, 16)
    const heads = randomHeads(10, 90, options)
    const blocks = shuffledBlocks(1)
    const step = pagedStep([
      { first: 0, start: 0, count: 30, blocks: blocks.slice(0, 1) },
      { first: 30, start: 0, count: 40, blocks: blocks.slice(1, 3) },
      { first: 70, start: 0, count: 20, blocks: blocks.slice(3, 4) },
    ])
    const clean = attentionGraph(heads, options)
    for (const bad of [NaN, Infinity]) {
      const spoilt = attentionGraph({ ...heads, v: heads.v.with(45 * 16 + 3, bad) }, options)
      for (const [program, isa] of clean.programs({ maxTokens: 90 })) {
        using other = spoilt.program({ isa, maxTokens: 90 })
        const [expected, found] = [program, other].map((p) => p.run(step).y as Float32Array)
        for (const [first, count] of [
          [0, 30],
          [70, 20],
        ]) {
          const where = `${isa}, ${bad}, tokens from ${first}`
          expect(difference(rowsOf(found, 32, count, first), rowsOf(expected, 32, count, first)), where).toBe(
            '',
          )
        }
        expect(Number.isFinite(found[45 * 32 + 3]), isa).toBe(false)
      }
    }
  })

  it('does not read what a sequence before left in its blocks', () => {
    const options = shape(2, 1, 16)
    const heads = randomHeads(11, 160, options)
    // Tokens 60 and following are a spoilt sequence's.
    const [k, v] = [heads.k.slice().fill(NaN, 60 * 16), heads.v.slice().fill(NaN, 60 * 16)]
    const graph = attentionGraph({ q: heads.q, k, v }, options)
    const blocks = shuffledBlocks(2)
    const fine = [40, 1, 19].map((count, i) =>
      pagedStep([{ first: [0, 40, 41][i], start: [0, 40, 41][i], count, blocks }]),
    )
    for (const cacheDtype of caches) {
      for (const [program, isa] of graph.programs({ cacheDtype, maxTokens: 100 })) {
        const expected = fine.map((step) => (program.run(step).y as Float32Array).slice())
        const left = program.run(pagedStep([{ first: 60, start: 0, count: 100, blocks }])).y as Float32Array
        expect(left.every(Number.isNaN), isa).toBe(true)
        fine.forEach((step, i) => {
          expect(difference(program.run(step).y, expected[i]), `${isa}, ${cacheDtype}, step ${i}`).toBe('')
        })
      }
    }
  })
})
