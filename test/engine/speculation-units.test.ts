import { describe, expect, it } from 'vitest'
import { Acceptance } from '#kvasir/engine/acceptance.js'
import { allocateDrafts } from '#kvasir/engine/draft-allocation.js'
import { PromptLookup } from '#kvasir/engine/prompt-lookup.js'
import { StepCosts } from '#kvasir/engine/step-costs.js'

describe('prompt lookup', () => {
  it('finds the longest match, of equals the last', () => {
    const ids = [1, 2, 3, 9, 5, 2, 3, 7, 1, 2, 3]
    const lookup = new PromptLookup(ids)
    expect(lookup.find()).toEqual({ next: 3, length: 3 })
    ids.push(9, 8, 2, 3)
    expect(lookup.find()).toEqual({ next: 11, length: 2 })
    ids.push(4)
    expect(lookup.find()).toBeUndefined()
  })

  it('reads on past the end as a text that repeats itself', () => {
    const lookup = new PromptLookup([5, 1, 2, 3, 1, 2, 3])
    const match = lookup.find()!
    expect(match).toEqual({ next: 4, length: 3 })
    expect(lookup.read(match, 7)).toEqual([1, 2, 3, 1, 2, 3, 1])
    const constant = new PromptLookup([4, 4, 4])
    expect(constant.read(constant.find()!, 3)).toEqual([4, 4, 4])
  })

  it('has nothing to say of texts of less than three tokens', () => {
    for (const ids of [[1], [1, 1], [1, 2]]) expect(new PromptLookup(ids).find()).toBeUndefined()
  })

  it('finds what a search of all places finds', () => {
    let state = 1
    const ids: number[] = []
    const lookup = new PromptLookup(ids)
    for (let i = 0; i < 400; i++) {
      state = (state * 48271) % 2147483647
      ids.push(state % 7)
      const end = ids.length - 1
      const lengthAt = (place: number) => {
        let length = 0
        while (length < 16 && place >= length && ids[place - length] === ids[end - length]) length++
        return length
      }
      const lengths = ids.slice(0, -1).map((_, place) => lengthAt(place))
      const most = Math.max(0, ...lengths)
      const found = lookup.find()
      if (most < 2) expect(found).toBeUndefined()
      else {
        expect(found!.length).toBeGreaterThanOrEqual(2)
        expect(lengths[found!.next - 1]).toBe(found!.length)
        // Only the last places of a pair are looked at.
        if (ids.length < 100) expect(found).toEqual({ next: lengths.lastIndexOf(most) + 1, length: most })
      }
    }
  })

  it('searches the end of a long prompt only', () => {
    const long = Array.from({ length: 40_000 }, (_, i) => i)
    expect(new PromptLookup([...long, 5, 6, 7]).find()).toBeUndefined()
    expect(new PromptLookup([...long, 39_000, 39_001]).find()).toEqual({ next: 39_002, length: 2 })
  })
})

describe('what steps take', () => {
  it('is believed after three times, and is a median', () => {
    const costs = new StepCosts()
    costs.record(1, 10)
    costs.record(1, 500)
    expect(costs.measured(1)).toBeUndefined()
    expect(costs.expected(4)).toBeUndefined()
    costs.record(1, 11)
    expect(costs.measured(1)).toBe(11)
    costs.record(1, 10)
    costs.record(1, 10)
    expect(costs.measured(1)).toBe(10)
  })

  it('is expected between sizes that were measured, and as below where none above was', () => {
    const costs = new StepCosts()
    for (let i = 0; i < 3; i++) costs.record(1, 10)
    expect(costs.expected(9)).toBe(10)
    for (let i = 0; i < 3; i++) costs.record(9, 26)
    expect([1, 3, 5, 9, 40].map((tokens) => costs.expected(tokens))).toEqual([10, 14, 18, 26, 26])
    expect(costs.measured(5)).toBeUndefined()
  })

  it('is forgotten of sizes that were not run for long', () => {
    const costs = new StepCosts()
    for (let i = 0; i < 3; i++) costs.record(5, 100)
    for (let i = 0; i < 1025; i++) costs.record(1, 10)
    expect(costs.measured(5)).toBeUndefined()
    expect(costs.expected(5)).toBe(10)
    costs.record(5, 20)
    costs.record(5, 20)
    expect(costs.measured(5)).toBeUndefined() // the old times do not count
  })

  it('takes large sizes together', () => {
    const costs = new StepCosts()
    for (const tokens of [129, 133, 136]) costs.record(tokens, 7)
    expect(costs.measured(130)).toBe(7)
    expect(costs.measured(137)).toBeUndefined()
  })
})

describe('acceptance', () => {
  it('follows what is right', () => {
    const acceptance = new Acceptance(0.5, 16)
    expect(acceptance.probability).toBe(0.5)
    for (let i = 0; i < 40; i++) acceptance.learn(4, 4)
    expect(acceptance.probability).toBeGreaterThan(0.88)
    for (let i = 0; i < 80; i++) acceptance.learn(4, 0)
    expect(acceptance.probability).toBeLessThan(0.15)
  })

  it('goes back to what was believed where nothing is guessed', () => {
    const acceptance = new Acceptance(0.5, 16)
    for (let i = 0; i < 40; i++) acceptance.learn(1, 0)
    const low = acceptance.probability
    for (let i = 0; i < 50; i++) acceptance.pass()
    expect(acceptance.probability).toBeGreaterThan(low)
    for (let i = 0; i < 2000; i++) acceptance.pass()
    expect(acceptance.probability).toBeCloseTo(0.5, 3)
  })

  it('begins where others are', () => {
    const shared = new Acceptance(0.8, 256)
    const first = new Acceptance(shared, 16)
    for (let i = 0; i < 200; i++) first.learn(2, 0)
    expect(new Acceptance(shared, 16).probability).toBeLessThan(0.1)
  })
})

describe('how much is guessed', () => {
  const offer = (acceptance: number, most = 8, isModelled = false) => ({ acceptance, most, isModelled })
  const budget = (stepMs: (tokens: number) => number, more = {}) => ({
    sequences: 1,
    most: 100,
    stepMs,
    draftMs: () => 0,
    ...more,
  })

  it('is all where more tokens cost nothing', () => {
    expect(
      allocateDrafts(
        [offer(0.9)],
        budget(() => 10),
      ),
    ).toEqual([8])
  })

  it('is nothing where each token costs a step', () => {
    expect(
      allocateDrafts(
        [offer(0.95)],
        budget((tokens) => 10 * tokens),
      ),
    ).toEqual([0])
  })

  it('is what has the best rate in between', () => {
    const stepMs = (tokens: number) => 10 + 3 * (tokens - 1)
    const rate = (p: number, k: number) => (1 - p ** (k + 1)) / (1 - p) / stepMs(k + 1)
    for (const p of [0.3, 0.5, 0.7, 0.9]) {
      const rates = Array.from({ length: 9 }, (_, k) => rate(p, k))
      const best = rates.indexOf(Math.max(...rates))
      expect(allocateDrafts([offer(p)], budget(stepMs))).toEqual([rates[best]! > 1.03 * rates[0]! ? best : 0])
    }
  })

  it('sees past a step in the cost', () => {
    // Two to four tokens cost the same, as in a kernel that takes rows by fours.
    const stepMs = (tokens: number) => (tokens === 1 ? 10 : tokens <= 4 ? 19 : 40)
    expect(allocateDrafts([offer(0.85)], budget(stepMs))).toEqual([3])
  })

  it('goes to the texts where it is worth most, within what there is room for', () => {
    const counts = allocateDrafts([offer(0.3), offer(0.9), offer(0.9, 2)], {
      ...budget(() => 10),
      sequences: 3,
      most: 6,
    })
    expect(counts).toEqual([0, 4, 2])
    expect(
      allocateDrafts(
        [offer(0.9)],
        budget(() => 10, { most: 0 }),
      ),
    ).toEqual([0])
    expect(
      allocateDrafts(
        [offer(0.9)],
        budget(() => 10, { most: -3 }),
      ),
    ).toEqual([0])
  })

  it('counts what a draft model takes', () => {
    const costs = (each: number) => budget(() => 10, { draftMs: (depth: number) => each * depth })
    expect(allocateDrafts([offer(0.8, 8, true)], costs(20))).toEqual([0])
    expect(allocateDrafts([offer(0.8, 8, true)], costs(0.1))).toEqual([8])
    const [some] = allocateDrafts([offer(0.8, 8, true)], costs(2))
    expect(some).toBeGreaterThan(0)
    expect(some).toBeLessThan(8)
  })
})
