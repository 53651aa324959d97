import { describe, expect, it } from 'vitest'
import type { Words } from '#kvasir/graph/interpreter/philox.js'
import { philox4x32 } from '#kvasir/graph/interpreter/philox.js'
import { evaluate } from './evaluate.js'
import { Random } from './random.js'

interface Settings {
  temperature?: number
  topK?: number
  typicalP?: number
  topP?: number
  minP?: number
  seed?: [number, number]
  counter?: number
  forced?: number
}

interface Row {
  logits: number[]
  /** What is chosen from, where that is another. */
  adjusted?: number[]
  settings?: Settings
}

function sample(rows: Row[]) {
  type Column = 'temperature' | 'topK' | 'typicalP' | 'topP' | 'minP' | 'counter' | 'forced'
  const column = (name: Column, byDefault: number) =>
    rows.map(({ settings }) => settings?.[name] ?? byDefault)
  const { ids, logprobs } = evaluate('sample', {
    floats: {
      logits: rows.map(({ logits }) => logits),
      adjusted: rows.map(({ logits, adjusted = logits }) => adjusted),
    },
    tables: {
      typicalP: ['typicalP', Float32Array.from(column('typicalP', 1))],
      forced: ['forced', Int32Array.from(column('forced', -1))],
      temperature: ['temperature', Float32Array.from(column('temperature', 1))],
      topK: ['topK', Int32Array.from(column('topK', 0))],
      topP: ['topP', Float32Array.from(column('topP', 1))],
      minP: ['minP', Float32Array.from(column('minP', 0))],
      seed: ['seed', Int32Array.from(rows.flatMap(({ settings }) => settings?.seed ?? [1, 2]))],
      counter: ['counter', Int32Array.from(column('counter', 0))],
    },
    outputs: { ids: ['R'], logprobs: ['R'] },
  })
  return { ids, logprobs }
}

/** How often each id of `logits` is drawn in 4000 draws. */
function shares(logits: number[], settings: Settings): number[] {
  const draws = 4000
  const rows = Array.from({ length: draws }, (_, counter) => ({ logits, settings: { ...settings, counter } }))
  const counts = logits.map(() => 0)
  for (const id of sample(rows).ids) counts[id] += 1 / draws
  return counts
}

// Five standard deviations of a share drawn 4000 times are under 0.04; what is drawn is the same in every run.
function expectShares(found: number[], expected: number[]): void {
  expected.forEach((share, id) => {
    if (share === 0) expect(found[id]).toBe(0)
    else expect(Math.abs(found[id] - share), `${found}`).toBeLessThan(0.04)
  })
}

describe('philox4x32', () => {
  it('gives the published answers', () => {
    const hex = (words: Words) => words.map((word) => word.toString(16).padStart(8, '0')).join(' ')
    const ones = 0xffffffff
    expect(hex(philox4x32([0, 0], [0, 0, 0, 0]))).toBe('6627e8d5 e169c58d bc57ac4c 9b00dbd8')
    expect(hex(philox4x32([ones, ones], [ones, ones, ones, ones]))).toBe(
      '408f276d 41c83b0e a20bc7c6 6d5451fd',
    )
    expect(hex(philox4x32([0xa4093822, 0x299f31d0], [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344]))).toBe(
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    )
  })

  it('agrees with whole-number arithmetic', () => {
    const random = new Random(1)
    for (let i = 0; i < 200; i++) {
      const [k0, k1, ...counter] = Array.from({ length: 6 }, () => random.integer(0, 2 ** 32 - 1))
      expect(philox4x32([k0, k1], counter as unknown as Words)).toEqual(philoxOfBigInts([k0, k1], counter))
    }
  })
})

function philoxOfBigInts(key: number[], counter: number[]): number[] {
  let [k0, k1] = key.map(BigInt)
  let words = counter.map(BigInt)
  for (let round = 0; round < 10; round++) {
    const [product0, product1] = [words[0] * 0xd2511f53n, words[2] * 0xcd9e8d57n]
    const low = (product: bigint) => product & 0xffffffffn
    words = [
      (product1 >> 32n) ^ words[1] ^ k0,
      low(product1),
      (product0 >> 32n) ^ words[3] ^ k1,
      low(product0),
    ]
    k0 = low(k0 + 0x9e3779b9n)
    k1 = low(k1 + 0xbb67ae85n)
  }
  return words.map(Number)
}

describe('sample', () => {
  const logits = [0.1, 0.2, 0.3, 0.4].map(Math.log)

  it('temperature 0 takes the largest, the lowest id among equals', () => {
    const settings = { temperature: 0 }
    const rows = [
      [1, 3, 2],
      [5, 5, 1],
      [-Infinity, -2, -2],
    ].map((logits) => ({ logits, settings }))
    expect(sample(rows).ids).toEqual([1, 0, 1])
  })

  it('gives the log probability of the unchanged logits', () => {
    const rows = [
      { logits: logits.map((logit) => logit + 500), settings: { temperature: 0 } },
      { logits, settings: { temperature: 0.01, topK: 1 } },
    ]
    for (const logprob of sample(rows).logprobs) expect(Math.abs(logprob - Math.log(0.4))).toBeLessThan(1e-13)
  })

  it('draws by probability', () => {
    expectShares(shares(logits, {}), [0.1, 0.2, 0.3, 0.4])
  })

  it('divides by the temperature', () => {
    expectShares(shares(logits, { temperature: 0.5 }), [1 / 30, 4 / 30, 9 / 30, 16 / 30])
  })

  it('keeps the top k, lower ids first among equals', () => {
    expectShares(shares(logits, { topK: 2 }), [0, 0, 3 / 7, 4 / 7])
    expectShares(shares([0, 0, 0, 0], { topK: 2 }), [0.5, 0.5, 0, 0])
    expectShares(shares(logits, { topK: 9 }), [0.1, 0.2, 0.3, 0.4])
  })

  it('puts larger logits first where their probabilities are equal', () => {
    expect(Math.exp(1e-17)).toBe(Math.exp(0))
    expectShares(shares([0, 1e-17, 0, 2e-17], { topK: 2 }), [0, 0.5, 0, 0.5])
    expectShares(shares([0, 1e-17, 0, 2e-17], { topP: 0.4 }), [0, 0.5, 0, 0.5])
  })

  it('keeps the shortest list that reaches top p', () => {
    expectShares(shares(logits, { topP: 0.69 }), [0, 0, 3 / 7, 4 / 7])
    expectShares(shares(logits, { topP: 0.71 }), [0, 2 / 9, 3 / 9, 4 / 9])
    expectShares(shares([0, 0, 0, 0], { topP: 0.5 }), [0.5, 0.5, 0, 0])
    expectShares(shares(logits, { topP: 1e-6 }), [0, 0, 0, 1])
    // Of what the top k leave: 3/7 and 4/7, of which the larger reaches 0.57.
    expectShares(shares(logits, { topK: 2, topP: 0.57 }), [0, 0, 0, 1])
  })

  it('keeps what has min p of the largest probability', () => {
    expectShares(shares(logits, { minP: 0.51 }), [0, 0, 3 / 7, 4 / 7])
    expectShares(shares(logits, { minP: 0.49 }), [0, 2 / 9, 3 / 9, 4 / 9])
    expectShares(shares(logits, { minP: 1 }), [0, 0, 0, 1])
  })

  it('keeps what is closest to the entropy until that has typical p', () => {
    // Surprises 2.30, 1.61, 1.20, 0.92 of a mean of 1.28: 1.20, then 1.61, 0.92 and 2.30.
    expectShares(shares(logits, { typicalP: 0.29 }), [0, 0, 1, 0])
    expectShares(shares(logits, { typicalP: 0.49 }), [0, 0.4, 0.6, 0])
    expectShares(shares(logits, { typicalP: 0.51 }), [0, 2 / 9, 3 / 9, 4 / 9])
    expectShares(shares(logits, { typicalP: 0.91 }), [0.1, 0.2, 0.3, 0.4])
    expectShares(shares([0, 0, 0, 0], { typicalP: 0.5 }), [0.5, 0.5, 0, 0])
    // Of the top two, 3/7 and 4/7: surprises 0.85 and 0.56 of a mean of 0.68.
    expectShares(shares(logits, { typicalP: 0.5, topK: 2 }), [0, 0, 0, 1])
    // Of what is typical, 0.4 and 0.6: then top p and min p.
    expectShares(shares(logits, { typicalP: 0.49, topP: 0.59 }), [0, 0, 1, 0])
    expectShares(shares(logits, { typicalP: 0.49, minP: 0.7 }), [0, 0, 1, 0])
    expectShares(shares(logits, { typicalP: 0.49, minP: 0.6 }), [0, 0.4, 0.6, 0])
  })

  it('chooses by the adjusted logits, and tells by the others', () => {
    const settings = { temperature: 0 }
    const adjusted = [0, 3, 0, -Infinity]
    const { ids, logprobs } = sample([
      { logits, adjusted, settings },
      { logits, adjusted, settings: { ...settings, forced: 3 } },
      { logits: [NaN, 0, 0, 0], adjusted, settings: { forced: 3 } },
      { logits, adjusted: [NaN, 0, 0, 0], settings },
      { logits, adjusted: [NaN, 0, 0, 0], settings: { forced: 0 } },
    ])
    expect(ids).toEqual([1, 3, -1, -1, 0])
    expect(logprobs[0]).toBeCloseTo(Math.log(0.2), 13)
    expect(logprobs[1]).toBeCloseTo(Math.log(0.4), 13)
    expect(logprobs.slice(2, 4)).toEqual([NaN, NaN])
    expect(logprobs[4]).toBeCloseTo(Math.log(0.1), 13)
  })

  it('takes the token at which the running sum passes u', () => {
    // 2^16 equal tokens: the id is u's first 16 bits.
    const equal = new Array(2 ** 16).fill(0)
    const rows = [
      [7, -3],
      [-1, 2 ** 30],
    ].map((seed) => ({ logits: equal, settings: { seed: seed as [number, number], counter: 12 } }))
    const words = [
      philoxOfBigInts([7, 2 ** 32 - 3], [12, 0, 0, 0]),
      philoxOfBigInts([2 ** 32 - 1, 2 ** 30], [12, 0, 0, 0]),
    ]
    expect(sample(rows).ids).toEqual(words.map(([first]) => Math.floor(first / 2 ** 16)))
  })

  it('depends on seed and counter', () => {
    const equal = new Array(1000).fill(0)
    const draw = (settings: Settings) => sample([{ logits: equal, settings }]).ids[0]
    expect(draw({ seed: [1, 2], counter: 3 })).toBe(draw({ seed: [1, 2], counter: 3 }))
    const draws = [
      draw({ seed: [1, 2], counter: 3 }),
      draw({ seed: [1, 2], counter: 4 }),
      draw({ seed: [2, 2], counter: 3 }),
      draw({ seed: [1, 3], counter: 3 }),
    ]
    expect(new Set(draws).size).toBe(4)
  })

  it('never draws what has no probability', () => {
    expectShares(shares([-Infinity, 0, -Infinity, 0], {}), [0, 0.5, 0, 0.5])
  })

  it('gives -1 and NaN where no token can be chosen', () => {
    const rows = [
      [1, NaN, 2],
      [1, Infinity, 2],
      [-Infinity, -Infinity, -Infinity],
    ].flatMap((logits) => [{ logits }, { logits, settings: { temperature: 0 } }])
    expect(sample(rows)).toEqual({ ids: new Array(6).fill(-1), logprobs: new Array(6).fill(NaN) })
  })
})
