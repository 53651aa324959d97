import { describe, expect, it } from 'vitest'
import type { Graph } from '#kvasir/graph/graph.js'
import { Interpreter } from '#kvasir/graph/interpreter.js'
import { lowerAttention } from '#kvasir/graph/passes/lower-attention.js'
import type { AttentionOptions } from './graph-builder.js'
import { GraphBuilder } from './graph-builder.js'
import { Random } from './random.js'
import type { StepInputs } from './steps.js'
import { Sequences } from './steps.js'

const vocabSize = 7

/** Queries, keys and values looked up by token, so that a test knows them. */
function recordAttention(options: AttentionOptions): Graph {
  const { heads, kvHeads, headSize } = options
  const b = new GraphBuilder()
  const look = (name: string, size: number) =>
    b.embedding(name, b.input('tokens'), b.weight(name, [vocabSize, size]))
  const [q, k, v] = [
    look('q', heads * headSize),
    look('k', kvHeads * headSize),
    look('v', kvHeads * headSize),
  ]
  return b.finish({ y: b.attention('attn', q, k, v, options) })
}

type Tables = Record<string, Float64Array>

function randomTables({ heads, kvHeads, headSize }: AttentionOptions, seed: number): Tables {
  const random = new Random(seed)
  const table = (size: number) => random.numbers(vocabSize * size, 2)
  return { q: table(heads * headSize), k: table(kvHeads * headSize), v: table(kvHeads * headSize) }
}

/** Row `t` of one whole sequence: weights of every earlier position by the formula, then normalised. */
function expectedRow(tokens: number[], t: number, tables: Tables, options: AttentionOptions): number[] {
  const { heads, kvHeads, headSize: D, softcap = 0, window = 0, slopes, scale = 1 / Math.sqrt(D) } = options
  return Array.from({ length: heads * D }, (_, column) => {
    const h = Math.floor(column / D)
    const kh = Math.floor((h * kvHeads) / heads)
    let numerator = 0
    let denominator = 0
    for (let j = 0; j <= t; j++) {
      if (window > 0 && t - j >= window) continue
      let s = 0
      for (let d = 0; d < D; d++)
        s += tables.q[(tokens[t] * heads + h) * D + d] * tables.k[(tokens[j] * kvHeads + kh) * D + d]
      s *= scale
      if (softcap > 0) s = softcap * Math.tanh(s / softcap)
      if (slopes) s -= Math.fround(slopes[h]) * (t - j)
      numerator += Math.exp(s) * tables.v[(tokens[j] * kvHeads + kh) * D + (column % D)]
      denominator += Math.exp(s)
    }
    return numerator / denominator
  })
}

/** Splits a step's tokens among its sequences. */
function tokensOf(step: StepInputs, s: number): number[] {
  return Array.from(step.tokens.slice(step.queryStarts[s], step.queryStarts[s + 1]))
}

const base = { heads: 4, kvHeads: 4, headSize: 3 }
const cases: [string, AttentionOptions][] = [
  ['a key head each', base],
  ['grouped heads', { ...base, kvHeads: 2 }],
  ['one key head', { ...base, kvHeads: 1 }],
  ['a window', { ...base, window: 5 }],
  ['a window of one', { ...base, window: 1 }],
  ['soft-capped scores', { ...base, softcap: 1.5 }],
  ['ALiBi', { ...base, kvHeads: 2, slopes: [0.5, 0.1, 0.02, 0.004] }],
  [
    'ALiBi after a soft cap, in a window, with a scale of its own',
    { ...base, softcap: 2, slopes: [1, 0.5, 0.2, 0.1], window: 40, scale: 0.7 },
  ],
]

describe.each([
  ['recorded', (graph: Graph) => graph],
  ['lowered', lowerAttention],
])('attention, %s', (_, form) => {
  it.each(cases)('with %s', (_, options) => {
    const tables = randomTables(options, 1)
    const interpreter = new Interpreter(form(recordAttention(options)), { weights: (name) => tables[name] })
    const sequences = new Sequences(2, vocabSize)
    const known: number[][] = [[], [], []]
    // Over a block's edge at 32, sequences joining and pausing.
    for (const counts of [[20], [13, 2], [0, 31, 1], [1, 1, 1]]) {
      const step = sequences.step(counts)
      const { y } = interpreter.run(step)
      const expected = counts.flatMap((count, s) => {
        known[s].push(...tokensOf(step, s))
        const first = known[s].length - count
        return Array.from({ length: count }, (_, i) =>
          expectedRow(known[s], first + i, tables, options),
        ).flat()
      })
      expect(y).toHaveLength(expected.length)
      const largestError = expected.reduce((max, number, i) => Math.max(max, Math.abs(number - y[i])), 0)
      expect(largestError).toBeLessThan(1e-13)
    }
  })
})

describe('the cache', () => {
  const tables = randomTables(base, 3)
  const newInterpreter = () => new Interpreter(recordAttention(base), { weights: (name) => tables[name] })
  const step = (changes: StepInputs = {}): StepInputs => ({
    tokens: Int32Array.of(1, 2),
    queryStarts: Int32Array.of(0, 2),
    contextLengths: Int32Array.of(2),
    blockTables: Int32Array.of(5),
    ...changes,
  })

  it('does not give what was never appended', () => {
    const interpreter = newInterpreter()
    interpreter.run(step())
    const next = {
      tokens: Int32Array.of(3),
      queryStarts: Int32Array.of(0, 1),
      contextLengths: Int32Array.of(3),
    }
    expect(() => interpreter.run(step({ ...next, blockTables: Int32Array.of(6) }))).toThrow(
      'attention: blockTables must lead to appended keys, got place 0 of block 6, where layer 0 has none',
    )
    expect(interpreter.run(step(next)).y).toHaveLength(12)
    interpreter.reset()
    expect(() => interpreter.run(step(next))).toThrow('got place 0 of block 5, where layer 0 has none')
  })

  it('checks the tables', () => {
    const run = (changes: StepInputs) => () => newInterpreter().run(step(changes))
    expect(run({ blockTables: Int32Array.of(-1) })).toThrow(
      'attention: blockTables of sequence 0 must be a block for position 0, got -1',
    )
    expect(run({ contextLengths: Int32Array.of(34) })).toThrow(
      'must be a block for position 32, got "1 columns"',
    )
    expect(run({ contextLengths: Int32Array.of(1) })).toThrow(
      'attention: contextLengths[0] must be at least 2, got 1',
    )
    expect(run({ queryStarts: Int32Array.of(0, 1) })).toThrow(
      'attention: queryStarts must be from 0 to 2, got "0 to 1"',
    )
    expect(
      run({
        queryStarts: Int32Array.of(0, 3, 2),
        contextLengths: Int32Array.of(3, 1),
        blockTables: Int32Array.of(1, 2),
      }),
    ).toThrow('attention: queryStarts must be in ascending order, got "0, 3, 2"')
    expect(run({ queryStarts: Int32Array.of(0, 1, 2) })).toThrow(/run: inputs.contextLengths must be \(2\)/)
  })

  it('keeps layers apart', () => {
    const b = new GraphBuilder()
    const look = (name: string) => b.embedding(name, b.input('tokens'), b.weight(name, [vocabSize, 2]))
    const heads = { heads: 1, kvHeads: 1, headSize: 2 }
    const y0 = b.attention('first', look('q'), look('k'), look('v0'), heads)
    const y1 = b.attention('second', look('q'), look('k'), look('v1'), heads)
    const graph = b.finish({ y0, y1 })
    const weights = (name: string) => new Float64Array(14).fill({ v0: 3, v1: 4 }[name] ?? 0)
    const { y0: first, y1: second } = new Interpreter(graph, { weights }).run(step())
    expect([...first, ...second]).toEqual([3, 3, 3, 3, 4, 4, 4, 4])
  })
})
