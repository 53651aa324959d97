import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BlockPool } from '#kvasir/engine/block-pool.js'
import { Scheduler, type StepKind, type Task } from '#kvasir/engine/scheduler.js'
import { Sequence } from '#kvasir/engine/sequence.js'
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
    expect(preemptions).toBeGreaterThan(2000)
    expect(reused).toBeGreaterThan(1000)
  })
})

/** A task that generates `tokens` tokens, or of which a row is wanted. */
class Text implements Task {
  readonly sequence: Sequence
  readonly most: number
  readonly kind: StepKind
  readonly priority: number
  isPaused = false
  steps = 0

  constructor(prompt: number, tokens = 1, { kind = 'sample' as StepKind, priority = 0 } = {}) {
    const ids = Array.from({ length: prompt }, (_, i) => i)
    this.sequence = new Sequence(ids, { reusesPrefix: false })
    this.most = prompt + tokens
    this.kind = kind
    this.priority = priority
  }

  get isDone(): boolean {
    return this.sequence.ids.length === this.most
  }
  get waits(): boolean {
    return this.isPaused || this.isDone
  }
  drafts(): number[] {
    return []
  }
  rows(count: number): number {
    return count === this.sequence.pending ? 1 : 0
  }
}

describe('a scheduler', () => {
  const limits = { tokens: 64, promptTokens: 16, sequences: 4, rows: () => 64 }

  const scheduling = (blocks: number, given: Partial<typeof limits> = {}) => {
    const pool = new BlockPool(blocks)
    const scheduler = new Scheduler<Text>(pool, { ...limits, ...given })
    const add = (text: Text) => {
      scheduler.add(text)
      return text
    }
    /** One step; the texts that were fed, and how many tokens of each. */
    const step = () => {
      const chunks = scheduler.plan()?.chunks ?? []
      for (const { task, count, rows } of chunks) {
        task.steps++
        task.sequence.commit(task.sequence.computed + count, pool)
        if (rows > 0) task.sequence.ids.push(0)
        if (task.isDone) scheduler.remove(task)
      }
      return new Map(chunks.map(({ task, count }) => [task, count]))
    }
    return { pool, scheduler, add, step }
  }

  it('feeds texts that are continued first, then prompts in chunks, within its budgets', () => {
    const { add, step } = scheduling(64)
    const first = add(new Text(40, 100))
    expect([...step()]).toEqual([[first, 40]])
    const [long, short] = [add(new Text(40, 5)), add(new Text(3, 5))]
    expect([...step()]).toEqual([
      [first, 1],
      [long, 16],
    ])
    expect([...step()]).toEqual([
      [first, 1],
      [long, 16],
    ])
    expect([...step()]).toEqual([
      [first, 1],
      [long, 8],
      [short, 3],
    ])
    expect([...step()]).toEqual([
      [first, 1],
      [long, 1],
      [short, 1],
    ])
  })

  it('lets in by priority, then in the order in which they came', () => {
    const { add, step, scheduler } = scheduling(64, { sequences: 1 })
    const texts = [0, 2, 1, 2].map((priority) => add(new Text(4, 1, { priority })))
    const order = []
    while (scheduler.waiting > 0) order.push(...[...step().keys()].map((text) => texts.indexOf(text)))
    expect(order).toEqual([1, 3, 2, 0])
  })

  it('lets no more in than can have a token each in every step', () => {
    const { add, step, scheduler } = scheduling(64, { sequences: 8, tokens: 4 })
    for (let i = 0; i < 8; i++) add(new Text(1, 50))
    for (let i = 0; i < 10; i++) step()
    expect(scheduler.running).toBe(4)
    expect(step().size).toBe(4)
  })

  it('lets a text of low priority in at last, though others of higher priority keep coming', () => {
    const { add, step } = scheduling(8, { sequences: 1 })
    const low = add(new Text(4, 2, { priority: -1 }))
    let steps = 0
    for (; !low.isDone && steps < 5000; steps++) {
      add(new Text(4, 1, { priority: 0 }))
      step()
    }
    expect(steps).toBeGreaterThan(200)
    expect(steps).toBeLessThan(600)
  })

  it('does not take from a text again what it waited for', () => {
    const { add, step } = scheduling(4)
    const low = add(new Text(70, 30, { priority: -1 }))
    let steps = 0
    for (; !low.isDone && steps < 5000; steps++) {
      add(new Text(60, 3, { priority: 0 }))
      step()
    }
    expect(steps).toBeLessThan(1500)
  })

  it('remembers what a text gained by waiting when it has to give way', () => {
    const { add, step } = scheduling(4, { sequences: 1 })
    const low = add(new Text(4, 60, { priority: -1 }))
    const isLetIn = () => low.steps > 0
    const pass = () => {
      add(new Text(4, 1))
      return step()
    }
    while (!isLetIn()) pass()
    low.isPaused = true // its place is free now, but not its blocks
    const large = add(new Text(110, 2, { priority: 1 }))
    while (!large.isDone) step()
    expect(low.sequence.blocks).toHaveLength(0)
    low.isPaused = false
    expect(pass().has(low)).toBe(true)
  })

  it('lets small texts of another kind overtake none that waits for blocks', () => {
    const { add, step } = scheduling(8)
    const rows = () => add(new Text(60, 1, { kind: 'hidden' }))
    for (let i = 0; i < 4; i++) rows()
    const large = add(new Text(230, 2))
    let steps = 0
    for (; !large.isDone && steps < 1000; steps++) {
      rows()
      step()
    }
    expect(steps).toBeLessThan(20)
  })

  it('does not let in what running prompts still need blocks for', () => {
    const { add, step, scheduler } = scheduling(10, { tokens: 32 })
    const first = add(new Text(250, 2, { kind: 'hidden' }))
    step()
    const second = add(new Text(200, 2))
    while (!(first.isDone && second.isDone)) step()
    expect(scheduler.preemptions).toBe(0)
  })

  it('takes the blocks of those that rest, and of the last in rank, and gives them back', () => {
    const { add, step, scheduler, pool } = scheduling(4)
    const resting = add(new Text(60, 10))
    step()
    resting.isPaused = true
    const other = add(new Text(100, 2))
    while (!other.isDone) step()
    expect(scheduler.preemptions).toBe(1)
    expect(resting.sequence.computed).toBe(0)
    resting.isPaused = false
    while (!resting.isDone) expect(step().size).toBe(1)
    expect(pool.available).toBe(4)
  })

  it('goes on where one that waits has the blocks that the only running one needs', () => {
    const { add, step, pool, scheduler } = scheduling(2, { sequences: 1 })
    const running = add(new Text(31, 20))
    step()
    // Another text that has blocks from the beginning, as those of one prompt do, and that has waited longer.
    const waiting = new Text(20, 3, { priority: 1 })
    waiting.sequence.reserve(20, pool)
    add(waiting)
    for (let steps = 0; !(running.isDone && waiting.isDone); steps++) {
      expect(step().size, `step ${steps}`).toBeGreaterThan(0)
    }
    expect(scheduler.running + scheduler.waiting).toBe(0)
    expect(pool.available).toBe(2)
  })

  it('gives kinds their turns', () => {
    const { add, scheduler, pool } = scheduling(64)
    for (const kind of ['sample', 'logits', 'hidden', 'probabilities'] as const)
      add(new Text(500, 1, { kind }))
    const kinds = Array.from({ length: 8 }, () => {
      const step = scheduler.plan()!
      for (const { task, count } of step.chunks) task.sequence.commit(task.sequence.computed + count, pool)
      return step.kind
    })
    expect(new Set(kinds.slice(0, 4)).size).toBe(4)
    expect(kinds.slice(4)).toEqual(kinds.slice(0, 4))
  })

  it('counts as waiting only those that would go on', () => {
    const { add, scheduler, step } = scheduling(64)
    add(new Text(4, 4)).isPaused = true
    expect(scheduler.waiting).toBe(0)
    expect(step().size).toBe(0)
  })
})
