// What is measured of one contender that continues several texts at once, in its own process.
import { setTimeout as sleep } from 'node:timers/promises'
import { watchEventLoop } from '../event-loop-delay.mjs'
import { measureSettling } from '../peers/measure/abort.mjs'
import { loadRunner } from '../peers/measure/load-runner.mjs'
import { memory } from '../peers/measure/memory.mjs'
import { BackgroundTexts } from './background-texts.mjs'

/** Aborted work may still hold its place for so long. */
const settleMs = 50

export class EnginePhases {
  #runner

  async load(options) {
    const { runner } = await loadRunner(options)
    this.#runner = runner
  }

  /** How many prompts are continued with the same tokens alone as together. */
  async verify({ prompts, tokens }) {
    const together = await Promise.all(prompts.map((ids) => this.#tokensOf(ids, tokens)))
    let equal = 0
    for (const [i, ids] of prompts.entries())
      if ((await this.#tokensOf(ids, tokens)).join() === together[i].join()) equal++
    return equal
  }

  async #tokensOf(ids, maxTokens) {
    const tokens = []
    await this.#runner.generate(ids, {
      maxTokens,
      onToken: (id) => {
        tokens.push(id)
      },
    })
    if (tokens.length !== maxTokens)
      throw new Error(`verify: ${maxTokens} tokens were expected, got ${tokens.length}`)
    return tokens
  }

  /** Tokens a second of all texts together, from when all have begun until the first ends. */
  async decode({ prompts, tokens }) {
    const before = await this.#runner.stats?.()
    const { result: times, delay } = await watchEventLoop(() =>
      Promise.all(prompts.map((ids) => this.#tokenTimes(ids, tokens + 1))),
    )
    const after = await this.#runner.stats?.()
    const from = Math.max(...times.map((each) => each[0]))
    const until = Math.min(...times.map((each) => each.at(-1)))
    const within = times.flat().filter((time) => time > from && time <= until).length
    return { rate: (1000 * within) / (until - from), delay, steps: after && stepCosts(before, after) }
  }

  async #tokenTimes(ids, maxTokens) {
    const times = []
    await this.#runner.generate(ids, {
      maxTokens,
      onToken: () => {
        times.push(performance.now())
      },
    })
    return times
  }

  /**
   * One more request comes while `prompts` are continued: milliseconds to its first token; and between two tokens of the
   * others, meanwhile and before, in which time each gets `calmTokens`.
   */
  async arrive({ prompts, ids, calmTokens }) {
    const { result, delay } = await watchEventLoop(async () => {
      const others = await BackgroundTexts.start(this.#runner, prompts, calmTokens)
      const from = performance.now()
      const until = await this.#firstToken(ids)
      await others.moreTokens(1)
      await others.stop()
      return {
        firstTokenMs: until - from,
        gapsMs: others.gaps(from, until),
        calmGapsMs: others.gapsBefore(from),
      }
    })
    await sleep(settleMs)
    return { ...result, delay }
  }

  /** When it was there. */
  #firstToken(ids) {
    return new Promise((resolve, reject) => {
      this.#runner.generate(ids, { maxTokens: 1, onToken: () => resolve(performance.now()) }).catch(reject)
    })
  }

  /** How long a call goes on that is aborted `dueMs` after its start, while `prompts` are continued. */
  async abort({ prompts, ...options }) {
    const others = await BackgroundTexts.start(this.#runner, prompts, 2)
    const settledMs = await measureSettling(this.#runner, options)
    await others.stop()
    await sleep(settleMs)
    return { settledMs }
  }

  /** Milliseconds until all of `prompts`, which come together, have their first token. */
  async prefill({ prompts }) {
    const before = await this.#runner.stats?.()
    const start = performance.now()
    await Promise.all(prompts.map((ids) => this.#runner.generate(ids, { maxTokens: 1 })))
    const ms = performance.now() - start
    const after = await this.#runner.stats?.()
    return { ms, cachedTokens: after && after.cachedTokens - before.cachedTokens }
  }

  memory() {
    return memory()
  }
}

/** What steps took between two readings of the engine's counts. */
function stepCosts(before, after) {
  const difference = (name) => after[name] - before[name]
  const [steps, nativeMs, engineMs] = ['steps', 'nativeMs', 'engineMs'].map(difference)
  return {
    nativeMs: nativeMs / steps,
    engineMs: engineMs / steps,
    engineShare: engineMs / (nativeMs + engineMs),
  }
}
