import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BytePairEncoder, type BytePairRules } from '#kvasir/tokenizer/byte-pair-encoder.js'
import { MinHeap } from '#kvasir/tokenizer/min-heap.js'

/** The definition: merge the pair of lowest rank, the leftmost of several, until there is none. */
function mergeSlowly(word: string, { ids, merges }: BytePairRules): number[] {
  const symbols = [...word].map((char) => ids.get(char)!)
  for (;;) {
    let best = { rank: Number.POSITIVE_INFINITY, position: -1 }
    for (let i = 0; i + 1 < symbols.length; i++) {
      const rank = merges.findLastIndex(({ left, right }) => left === symbols[i] && right === symbols[i + 1])
      if (rank >= 0 && rank < best.rank) best = { rank, position: i }
    }
    if (best.position < 0) return symbols
    symbols.splice(best.position, 2, merges[best.rank]!.merged)
  }
}

/** Merges of any earlier tokens, which begin with the characters. */
function rulesOf(characters: string, picks: [number, number][]): BytePairRules {
  const contents = [...characters]
  const merges: { left: number; right: number; merged: number }[] = []
  for (const [a, b] of picks) {
    const [left, right] = [a % contents.length, b % contents.length]
    const content = contents[left]! + contents[right]!
    if (!contents.includes(content)) contents.push(content)
    merges.push({ left, right, merged: contents.indexOf(content) })
  }
  const ids = new Map(contents.map((content, id) => [content, id]))
  return { ids, merges, byteIds: null, unknownId: null, fusesUnknown: false, prefersWholeWords: false }
}

describe('BytePairEncoder', () => {
  const picks = fc.array(fc.tuple(fc.nat(50), fc.nat(50)), { maxLength: 12 })

  it.each(['ab', 'ab▁'])('merges as the definition says, over "%s"', (characters) => {
    const word = fc.string({ unit: fc.constantFrom(...characters), maxLength: 60 })
    fc.assert(
      fc.property(picks, word, (somePicks, text) => {
        const rules = rulesOf(characters, somePicks)
        const ids: number[] = []
        new BytePairEncoder(rules).encode(text, ids)
        expect(ids).toEqual(mergeSlowly(text, rules))
      }),
      { numRuns: 1000 },
    )
  })

  it('gives the same from its cache', () => {
    const rules = rulesOf('ab', [[0, 1]])
    const encoder = new BytePairEncoder(rules)
    const ids: number[] = []
    for (let i = 0; i < 3; i++) encoder.encode('abba', ids)
    expect(ids).toEqual([2, 1, 0, 2, 1, 0, 2, 1, 0])
  })

  it('goes on when its cache is full', () => {
    const encoder = new BytePairEncoder(rulesOf('ab', [[0, 1]]))
    for (let i = 0; i < 20_000; i++) {
      const word = i.toString(2).replaceAll('0', 'a').replaceAll('1', 'b')
      const ids: number[] = []
      encoder.encode(word, ids)
      const content = ids.map((id) => ['a', 'b', 'ab'][id]).join('')
      if (content !== word) expect(content).toBe(word)
    }
  })
})

describe('MinHeap', () => {
  it('gives its numbers in order', () => {
    fc.assert(
      fc.property(fc.array(fc.nat()), (numbers) => {
        const heap = new MinHeap()
        for (const each of numbers) heap.push(each)
        const popped = numbers.map(() => heap.pop())
        expect(popped).toEqual(numbers.toSorted((a, b) => a - b))
        expect(heap.pop()).toBeUndefined()
      }),
    )
  })
})
