import type { Histogram, Stats } from './messages.js'

const waitBounds = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000]
const stepBounds = [0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 200, 500, 1000]

class HistogramCounter {
  readonly #bounds: number[]
  readonly #counts: number[]
  #sum = 0

  constructor(bounds: number[]) {
    this.#bounds = bounds
    this.#counts = new Array(bounds.length + 1).fill(0)
  }

  add(value: number): void {
    this.#sum += value
    let i = 0
    while (i < this.#bounds.length && value > this.#bounds[i]!) i++
    this.#counts[i]!++
  }

  read(): Histogram {
    return { bounds: [...this.#bounds], counts: [...this.#counts], sum: this.#sum }
  }
}

type Counted = 'completed' | 'aborted' | 'failed' | 'promptTokens' | 'draftedTokens' | 'acceptedTokens'

/** Counts what the engine does. */
export class StatsCounter {
  readonly #counts = {
    completed: 0,
    aborted: 0,
    failed: 0,
    steps: 0,
    promptTokens: 0,
    cachedTokens: 0,
    generatedTokens: 0,
    draftedTokens: 0,
    acceptedTokens: 0,
    nativeMs: 0,
    engineMs: 0,
  }
  readonly #queueMs = new HistogramCounter(waitBounds)
  readonly #firstTokenMs = new HistogramCounter(waitBounds)
  readonly #interTokenMs = new HistogramCounter(stepBounds)
  readonly #stepMs = new HistogramCounter(stepBounds)

  count(what: Counted, by = 1): void {
    this.#counts[what] += by
  }

  /** A request's first tokens were fed, after it waited so long. */
  started(queueMs: number, cachedTokens: number): void {
    this.#queueMs.add(queueMs)
    this.#counts.cachedTokens += cachedTokens
  }

  firstToken(sinceArrivalMs: number): void {
    this.#firstTokenMs.add(sinceArrivalMs)
  }

  /** A token was generated, the one before it at `before` (0 for none); returns the time. */
  token(before: number): number {
    const now = performance.now()
    this.#counts.generatedTokens++
    if (before > 0) this.#interTokenMs.add(now - before)
    return now
  }

  step(nativeMs: number, engineMs: number): void {
    this.#counts.steps++
    this.#counts.nativeMs += nativeMs
    this.#counts.engineMs += engineMs
    this.#stepMs.add(nativeMs + engineMs)
  }

  read(): Omit<Stats, 'running' | 'waiting' | 'preemptions' | 'cache' | 'speculation'> {
    return {
      ...this.#counts,
      queueMs: this.#queueMs.read(),
      firstTokenMs: this.#firstTokenMs.read(),
      interTokenMs: this.#interTokenMs.read(),
      stepMs: this.#stepMs.read(),
    }
  }
}
