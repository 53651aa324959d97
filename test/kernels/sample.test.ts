import { describe, expect, it } from 'vitest'
import { Random } from '../graph/random.js'
import type { StepInputs } from '../graph/steps.js'
import { KernelGraph } from './kernel-graph.js'
import { isas, onCuda, threadCounts } from './native-program.js'
import { randomNumbers, worstError } from './numbers.js'

interface Settings {
  temperature: number
  topK: number
  topP: number
  minP: number
  seed: [number, number]
  counter: number
}

const plain: Settings = { temperature: 1, topK: 0, topP: 1, minP: 0, seed: [1, 2], counter: 0 }

/** Samples rows of `logits`; the step's output rows are its tokens. */
function sampleGraph(V: number, logits: ArrayLike<number>): KernelGraph {
  const graph = new KernelGraph()
  const rows = graph.gatherRows('gather', graph.activations('logits', V, logits))
  const names = ['temperature', 'topK', 'topP', 'minP', 'seed', 'counter'] as const
  const settings = Object.fromEntries(names.map((name) => [name, graph.input(name)]))
  graph.finish(
    graph.nodeWith('sample', { logits: rows, ...settings }, ['R'], { ids: 'i32', logprobs: 'f32' }),
  )
  return graph
}

/** A step that samples the given rows. */
function sampleStep(rows: readonly number[], settings: (r: number) => Partial<Settings>): StepInputs {
  const each = rows.map((_, r) => ({ ...plain, ...settings(r) }))
  const floats = (name: 'temperature' | 'topP' | 'minP') => Float32Array.from(each, (one) => one[name])
  return {
    tokens: Int32Array.from(rows),
    outputRows: Int32Array.from(rows, (_, r) => r),
    temperature: floats('temperature'),
    topK: Int32Array.from(each, ({ topK }) => topK),
    topP: floats('topP'),
    minP: floats('minP'),
    seed: Int32Array.from(each.flatMap(({ seed }) => seed)),
    counter: Int32Array.from(each, ({ counter }) => counter),
  }
}

const range = (count: number) => Array.from({ length: count }, (_, i) => i)

/** Settings of every kind, most of them with several rules. */
function randomSettings(random: Random, V: number): Settings {
  return {
    temperature: random.pick([0, 0.1, 0.7, 1, 1, 1.3, 5]),
    topK: random.pick([0, 0, 1, 2, 5, 40, V - 1, V, 2 * V]),
    // None that some number of equal probabilities reaches exactly: that is up to rounding.
    topP: random.pick([1, 1, 0.95, 0.9, 0.51, 0.01]),
    minP: random.pick([0, 0, 0.02, 0.1, 0.5, 0.99]),
    seed: [random.integer(-(2 ** 31), 2 ** 31 - 1), random.integer(-(2 ** 31), 2 ** 31 - 1)],
    counter: random.integer(0, 2 ** 31 - 1),
  }
}

/** Rows as models give them, flat ones, steep ones, ones with many equal logits and ones with most ids masked. */
function randomLogits(random: Random, V: number): number[] {
  const spread = random.pick([0.1, 2, 10, 40])
  const kind = random.pick(['even', 'peaked', 'whole numbers', 'masked'])
  const shift = random.pick([0, 0, 500, -500])
  const kept = random.integer(0, V - 1)
  return range(V).map((id) => {
    const logit = (2 * random.next() - 1) * spread
    if (kind === 'peaked') return Math.fround(logit * random.next() ** 8 + shift)
    if (kind === 'whole numbers') return Math.round(logit)
    if (kind === 'masked' && id !== kept && random.chance(0.9)) return -Infinity
    return Math.fround(logit + shift)
  })
}

// A logarithm of an f32 sum's size, and one rounding of the result.
const allowed = (y: number) => 1e-6 + 1.2e-7 * Math.abs(y)

describe('sample', () => {
  it.each([1, 2, 3, 5, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000, 4097])(
    'chooses what the interpreter does among %i',
    (V) => {
      const random = new Random(V)
      const count = onCuda ? 24 : V < 1000 ? 96 : 40
      const graph = sampleGraph(
        V,
        range(count).flatMap(() => randomLogits(random, V)),
      )
      const truth = graph.interpreter()
      const steps = range(V < 1000 && !onCuda ? 6 : 3).map(() => {
        return sampleStep(random.shuffle(range(count)), () => randomSettings(random, V))
      })
      const expected = steps.map((step) => truth.run(step))
      for (const [program, isa] of graph.programs({ threads: 3, maxTokens: count })) {
        steps.forEach((step, i) => {
          const { ids, logprobs } = program.run(step)
          expect(Array.from(ids), isa).toEqual(Array.from(expected[i].ids))
          expect(worstError(logprobs, expected[i].logprobs, allowed), isa).toBeLessThanOrEqual(1)
        })
      }
    },
  )

  it('chooses what the interpreter does among 50257', () => {
    const V = 50_257
    const random = new Random(1)
    const graph = sampleGraph(
      V,
      range(12).flatMap(() => randomLogits(random, V)),
    )
    const step = sampleStep(range(12), () => randomSettings(random, V))
    const expected = graph.interpreter().run(step)
    for (const [program, isa] of graph.programs({ threads: 2, maxTokens: 12 })) {
      const { ids, logprobs } = program.run(step)
      expect(Array.from(ids), isa).toEqual(Array.from(expected.ids))
      expect(worstError(logprobs, expected.logprobs, allowed), isa).toBeLessThanOrEqual(1)
    }
  })

  it.each([1, 4, 15, 16, 17, 64, 255, 256, 257, 1000])(
    'takes the largest of %i, the first of equals',
    (V) => {
      const rows = range(V < 100 ? V : 40).map((n) => {
        const [first, second] = [(n * 7919) % V, (n * 104_729) % V]
        return range(V).map((id) => (id === first || id === second ? 3 : 3 - ((id * 31) % 17) / 16 - 0.01))
      })
      const graph = sampleGraph(V, rows.flat())
      const expected = rows.map((row) => row.indexOf(Math.max(...row)))
      for (const [program, isa] of graph.programs({ maxTokens: rows.length })) {
        const greedy = program.run(sampleStep(range(rows.length), () => ({ temperature: 0 })))
        expect(Array.from(greedy.ids), isa).toEqual(expected)
        // Every rule that leaves one token, the first of the largest.
        for (const rule of [{ topK: 1 }, { topP: 1e-9 }]) {
          const { ids } = program.run(sampleStep(range(rows.length), (r) => ({ ...rule, counter: r })))
          expect(Array.from(ids), `${isa}, ${JSON.stringify(rule)}`).toEqual(expected)
        }
        // And those that leave the largest alone.
        for (const rule of [{ minP: 1 }, { temperature: 1e-6 }, { temperature: 1e-40 }]) {
          const { ids } = program.run(sampleStep(range(rows.length), (r) => ({ ...rule, counter: r })))
          ids.forEach((id, r) => {
            expect(rows[r][id], `${isa}, ${JSON.stringify(rule)}`).toBe(rows[r][expected[r]])
          })
        }
      }
    },
  )

  it('counts -0 and 0 as equals', () => {
    const graph = sampleGraph(5, [-1, -0, 0, -0, -1, -1, 0, -0, 0, -1])
    for (const [program, isa] of graph.programs()) {
      for (const rule of [{ temperature: 0 }, { topK: 1 }, { topP: 0.1 }]) {
        const { ids } = program.run(sampleStep([0, 1], () => rule))
        expect(Array.from(ids), `${isa}, ${JSON.stringify(rule)}`).toEqual([1, 1])
      }
    }
  })

  it('never chooses a masked token', () => {
    const V = 300
    const allowedIds = [7, 130, 131, 299]
    const row = range(V).map((id) => (allowedIds.includes(id) ? (id % 3) - 1 : -Infinity))
    const graph = sampleGraph(V, row)
    const random = new Random(3)
    for (const [program, isa] of graph.programs()) {
      for (let i = 0; i < 10; i++) {
        const { ids } = program.run(sampleStep(new Array(60).fill(0), () => randomSettings(random, V)))
        ids.forEach((id) => {
          expect(allowedIds, isa).toContain(id)
        })
      }
    }
  })

  it.each([
    ['a NaN', [1, NaN, 2]],
    ['infinity', [1, Infinity, 2]],
    ['both', [Infinity, NaN, -Infinity]],
    ['nothing above -infinity', [-Infinity, -Infinity, -Infinity]],
  ])('reports a row with %s, and goes on', (_, row) => {
    for (const V of [3, 40]) {
      const fine = range(V).map((id) => id / 7)
      const bad = V === 3 ? row : [...row, ...new Array(V - 3).fill(row[0] === 1 ? 0 : -Infinity)]
      const graph = sampleGraph(V, [...fine, ...bad])
      for (const [program, isa] of graph.programs()) {
        const expected = program.run(sampleStep([0, 0], (r) => ({ counter: r })))
        for (const rule of [
          {},
          { temperature: 0 },
          { topK: 2 },
          { topP: 0.5, temperature: 0.3 },
          { minP: 0.2 },
        ]) {
          const step = sampleStep([0, 1, 0], () => rule)
          expect(() => program.run(step), `${isa}, ${JSON.stringify(rule)}`).toThrow(
            expect.objectContaining({
              code: 'ERR_NUMERIC',
              message: expect.stringContaining('sample: row 1 '),
            }),
          )
        }
        expect(program.run(sampleStep([0, 0], (r) => ({ counter: r }))), isa).toEqual(expected)
      }
    }
  })

  it('takes logits of any size', () => {
    const rows = [
      [3.4e38, -3.4e38, 3.4e38, 0],
      [-3.4e38, -3.4e38, -3.3e38, -Infinity],
      [1e-45, 0, -1e-45, 1e-38],
      [1e30, 1e30, 1e30, -1e30],
      [-1000, -1000.5, -1001, -2000],
    ]
    const graph = sampleGraph(4, rows.flat())
    const truth = graph.interpreter()
    for (const temperature of [0, 0.01, 1, 1e6]) {
      for (const rule of [{}, { topK: 2 }, { topP: 0.9 }, { minP: 0.1 }]) {
        const step = sampleStep(range(rows.length), (r) => ({ temperature, ...rule, counter: r }))
        const expected = truth.run(step)
        for (const [program, isa] of graph.programs()) {
          const { ids, logprobs } = program.run(step)
          const where = `${isa}, temperature ${temperature}, ${JSON.stringify(rule)}`
          expect(Array.from(ids), where).toEqual(Array.from(expected.ids))
          expect(worstError(logprobs, expected.logprobs, allowed), where).toBeLessThanOrEqual(1)
        }
      }
    }
  })

  it('draws a row alike in any company, on any number of threads', () => {
    const V = 700
    const random = new Random(4)
    const graph = sampleGraph(
      V,
      range(64).flatMap(() => randomLogits(random, V)),
    )
    const settings = range(64).map(() => randomSettings(random, V))
    for (const isa of isas) {
      using alone = graph.program({ isa, threads: 1, maxTokens: 64 })
      const single = range(64).map((row) => alone.run(sampleStep([row], () => settings[row])))
      for (const threads of threadCounts(1, 2, 3)) {
        using program = graph.program({ isa, threads, maxTokens: 64 })
        const rows = random.shuffle(range(64))
        const { ids, logprobs } = program.run(sampleStep(rows, (r) => settings[rows[r]]))
        rows.forEach((row, r) => {
          expect([ids[r], logprobs[r]], `${isa}, row ${row}`).toEqual([
            single[row].ids[0],
            single[row].logprobs[0],
          ])
        })
      }
    }
  })

  it('draws by seed and counter alone', () => {
    const graph = sampleGraph(1000, randomNumbers(5, 1000, 0.1))
    for (const [program, isa] of graph.programs({ maxTokens: 512 })) {
      const draw = (settings: (r: number) => Partial<Settings>) =>
        Array.from(program.run(sampleStep(new Array(200).fill(0), settings)).ids)
      const first = draw((r) => ({ counter: r }))
      expect(
        draw((r) => ({ counter: r })),
        isa,
      ).toEqual(first)
      // Each of the 96 bits counts: some 200 of 1000 ids would be drawn again by chance, not more.
      for (const other of [
        draw((r) => ({ counter: r + 200 })),
        draw((r) => ({ counter: r, seed: [1, 3] })),
        draw((r) => ({ counter: r, seed: [3, 2] })),
        draw((r) => ({ counter: r, seed: [1 - 2 ** 31, 2] })),
      ]) {
        expect(other.filter((id, r) => id === first[r]).length, isa).toBeLessThan(10)
      }
    }
  })
})

/** The number of draws of each id over `steps` steps of 512 rows. */
function countDraws(
  graph: KernelGraph,
  V: number,
  isa: string,
  settings: Partial<Settings>,
  steps: number,
): number[] {
  using program = graph.program({ isa, threads: 1, maxTokens: 512, checked: false })
  const counts = new Array(V).fill(0)
  for (let i = 0; i < steps; i++) {
    const step = sampleStep(new Array(512).fill(0), (r) => ({
      ...settings,
      seed: [42, -7],
      counter: 512 * i + r,
    }))
    for (const id of program.run(step).ids) counts[id]++
  }
  return counts
}

describe('draws follow the distribution', () => {
  const V = 24
  const logits = Float32Array.from({ length: V }, (_, id) => Math.sin(id * 1.7) * 1.5)
  const softmax = (temperature: number) => {
    const weights = Array.from(logits, (logit) => Math.exp(logit / temperature))
    const total = weights.reduce((sum, weight) => sum + weight, 0)
    return weights.map((weight) => weight / total)
  }
  const descending = (p: number[]) => range(V).sort((a, b) => p[b] - p[a])
  const only = (p: number[], kept: number[]) => {
    const total = kept.reduce((sum, id) => sum + p[id], 0)
    return p.map((probability, id) => (kept.includes(id) ? probability / total : 0))
  }
  const nucleus = (p: number[], topP: number) => {
    let sum = 0
    return descending(p).filter((id) => {
      const before = sum
      sum += p[id]
      return before < topP
    })
  }

  const cases: [string, Partial<Settings>, number[]][] = [
    ['plain', {}, softmax(1)],
    ['at temperature 0.5', { temperature: 0.5 }, softmax(0.5)],
    ['at temperature 3', { temperature: 3 }, softmax(3)],
    ['of the first 5', { topK: 5 }, only(softmax(1), descending(softmax(1)).slice(0, 5))],
    ['of 0.6 in all', { topP: 0.6 }, only(softmax(1), nucleus(softmax(1), 0.6))],
    [
      'of at least a third of the largest',
      { minP: 0.33, temperature: 2 },
      only(
        softmax(2),
        range(V).filter((id) => softmax(2)[id] >= 0.33 * Math.max(...softmax(2))),
      ),
    ],
  ]

  it.each(cases)('%s', (_, settings, expected) => {
    const graph = sampleGraph(V, logits)
    const steps = onCuda ? 1 : 40
    for (const isa of isas) {
      const counts = countDraws(graph, V, isa, settings, steps)
      let chiSquare = 0
      expected.forEach((probability, id) => {
        const mean = probability * steps * 512
        if (mean === 0) expect(counts[id], `${isa}, id ${id}`).toBe(0)
        else chiSquare += (counts[id] - mean) ** 2 / mean
      })
      const freedom = expected.filter((probability) => probability > 0).length - 1
      // By Wilson & Hilferty's approximation: exceeded by chance once in a thousand; the draws are always the same.
      const bound = freedom * (1 - 2 / (9 * freedom) + 3.09 * Math.sqrt(2 / (9 * freedom))) ** 3
      expect(chiSquare, isa).toBeLessThan(bound)
    }
  })
})
