import { describe, expect, it } from 'vitest'
import type { KernelGraph } from './kernel-graph.js'
import { isas, onCuda } from './native-program.js'
import type { Settings } from './sampling-steps.js'
import { range, sampleGraph, sampleStep } from './sampling-steps.js'

/** Rows of a step: many, so that a million draws are few steps. */
const rowsOfStep = onCuda ? 512 : 8192
const steps = onCuda ? 1 : 123

/** The number of draws of each id, from one row of logits. */
function countDraws(graph: KernelGraph, V: number, isa: string, settings: Partial<Settings>): number[] {
  using program = graph.program({ isa, threads: 2, maxTokens: rowsOfStep, checked: false })
  const counts = new Array(V).fill(0)
  const step = sampleStep(new Array(rowsOfStep).fill(0), () => ({ ...settings, seed: [42, -7] }))
  for (let i = 0; i < steps; i++) {
    step.counter.forEach((_, r) => {
      step.counter[r] = rowsOfStep * i + r
    })
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

  const typical = (p: number[], typicalP: number) => {
    const surprise = p.map((probability) => -Math.log(probability))
    const entropy = p.reduce((sum, probability, id) => sum + probability * surprise[id], 0)
    const shift = surprise.map((own) => Math.abs(own - entropy))
    let sum = 0
    return range(V)
      .sort((a, b) => shift[a] - shift[b])
      .filter((id) => {
        const before = sum
        sum += p[id]
        return before < typicalP
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
    ['of 0.7 of the typical', { typicalP: 0.7 }, only(softmax(1), typical(softmax(1), 0.7))],
    [
      'of 0.4 of the typical, at temperature 1.5',
      { typicalP: 0.4, temperature: 1.5 },
      only(softmax(1.5), typical(softmax(1.5), 0.4)),
    ],
  ]

  it.each(cases)('%s', (_, settings, expected) => {
    const graph = sampleGraph(V, logits, settings.typicalP ? logits : undefined)
    for (const isa of isas) {
      const counts = countDraws(graph, V, isa, settings)
      let chiSquare = 0
      expected.forEach((probability, id) => {
        const mean = probability * steps * rowsOfStep
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
