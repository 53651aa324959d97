import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type SimulatedSchedule, Simulation } from './simulation.js'

const request = fc.record({
  arrival: fc.nat(20),
  kind: fc.constantFrom('sample' as const, 'sample' as const, 'logits' as const, 'hidden' as const),
  family: fc.nat(1),
  common: fc.nat(70),
  own: fc.integer({ min: 1, max: 40 }),
  tokens: fc.integer({ min: 1, max: 40 }),
  samples: fc.integer({ min: 1, max: 3 }),
  priority: fc.integer({ min: -1, max: 1 }),
  salt: fc.constantFrom('', '', 'other'),
  reusesPrefix: fc.boolean(),
  abortAfter: fc.option(fc.nat(30), { nil: undefined, freq: 4 }),
  pauseAfter: fc.nat(20),
  pauseSteps: fc.constantFrom(0, 0, 0, 5, 40),
  drafts: fc.constantFrom(0, 0, 2, 4),
})

const schedule: fc.Arbitrary<SimulatedSchedule> = fc.record({
  blocks: fc.integer({ min: 5, max: 24 }), // 5: the longest text, alone
  tokens: fc.integer({ min: 4, max: 96 }),
  promptTokens: fc.integer({ min: 1, max: 4 }).map((n) => n * n),
  sequences: fc.integer({ min: 1, max: 8 }),
  rows: fc.integer({ min: 1, max: 16 }),
  lookahead: fc.constantFrom(1, 1, 4),
  interrupted: fc.constantFrom(0, 0, 3, 7),
  requests: fc.array(request, { minLength: 1, maxLength: 9 }),
})

describe('scheduler, block pool and sequences together', () => {
  it('serve ten thousand random schedules without losing a block, a token or a text', () => {
    let completed = 0
    let preemptions = 0
    let reused = 0
    fc.assert(
      fc.property(schedule, (one) => {
        const simulation = new Simulation(one)
        simulation.run(5000)
        completed += simulation.completed
        preemptions += simulation.scheduler.preemptions
        if (simulation.reused >= 32) reused++
      }),
      { numRuns: 10_000, seed: 20, endOnFailure: false },
    )
    // What they are to show has happened often enough.
    expect(completed).toBeGreaterThan(20_000)
    expect(preemptions).toBeGreaterThan(5000)
    expect(reused).toBeGreaterThan(1000)
  })
})
