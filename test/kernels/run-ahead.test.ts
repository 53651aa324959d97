import { describe, expect, it } from 'vitest'
import { onCuda } from './native-program.js'
import { sampleGraph, sampleStep } from './sampling-steps.js'

// The logits after token t are row t: 0 is followed by 1, 1 by 2 and so on; 4 has none that could follow.
const V = 6
const logits = Array.from({ length: V * V }, (_, i) => {
  const [token, id] = [Math.floor(i / V), i % V]
  return token === 4 ? NaN : id === (token + 1) % V ? 1 : 0
})

describe('running ahead', () => {
  const graph = sampleGraph(V, logits)
  const greedy = (tokens: number[]) => sampleStep(tokens, () => ({ temperature: 0 }))

  it('goes on with what it samples', () => {
    for (const [program, isa] of graph.programs()) {
      const { done, ids } = program.runAhead(greedy([0, 1]), 3)
      expect([done, ...ids], isa).toEqual([3, 1, 2, 2, 3, 3, 4])
    }
  })

  // Captured steps have rows that only fill them up.
  it.each([true, false])('ends after the step in which a row has no token (checked: %s)', (checked) => {
    for (const [program, isa] of graph.programs({ checked })) {
      for (const tokens of [[2], [0, 2], [2, 1, 0]]) {
        const { done, ids, logprobs } = program.runAhead(greedy(tokens), 8)
        expect(done, isa).toBe(3)
        const last = tokens.length * 2
        const found = Array.from(ids.subarray(last, last + tokens.length))
        expect(found, isa).toEqual(tokens.map((token) => (token === 2 ? -1 : token + 3)))
        expect(Number.isNaN(logprobs[last + tokens.indexOf(2)]), isa).toBe(true)
      }
      expect(program.runAhead(greedy([4, 0]), 2).done, isa).toBe(1)
      expect(program.run(greedy([0])).ids[0], isa).toBe(1)
    }
  })

  it('gives 0 when it is aborted before it began', () => {
    for (const [program, isa] of graph.programs({ checked: !onCuda })) {
      expect(program.runAhead(greedy([0]), 2, Int32Array.of(1)).done, isa).toBe(0)
    }
  })
})
