// What is measured of one contender, in its own process.
import { watchEventLoop } from '../../event-loop-delay.mjs'
import { measureAbort } from './abort.mjs'
import { loadRunner } from './load-runner.mjs'
import { memory } from './memory.mjs'

export class Phases {
  #runner

  async load(options) {
    const { runner, importMs, loadMs, delay } = await loadRunner(options)
    this.#runner = runner
    return { importMs, loadMs, delay, memory: memory() }
  }

  logits({ ids, rows }) {
    return this.#runner.logits(ids, rows)
  }

  async greedyIds({ ids, maxTokens }) {
    const found = []
    await this.#runner.generate(ids, { maxTokens, onToken: (id) => found.push(id) })
    return found
  }

  /** Milliseconds to the first token of each prompt. */
  async prefill({ prompts }) {
    const { result, delay } = await watchEventLoop(async () => {
      const times = []
      for (const ids of prompts) {
        const start = performance.now()
        await this.#runner.generate(ids, { maxTokens: 1 })
        times.push(performance.now() - start)
      }
      return times
    })
    return { ms: result, delay }
  }

  /** Milliseconds a token, from the first to the last. */
  async decode({ ids, tokens, repetitions }) {
    const { result, delay } = await watchEventLoop(async () => {
      const times = []
      for (let repetition = 0; repetition < repetitions; repetition++)
        times.push(await this.#timePerToken(ids, tokens))
      return times
    })
    return { msPerToken: result, delay }
  }

  async #timePerToken(ids, tokens) {
    const times = []
    await this.#runner.generate(ids, { maxTokens: tokens + 1, onToken: () => times.push(performance.now()) })
    if (times.length !== tokens + 1)
      throw new Error(`decode: ${tokens + 1} tokens were expected, got ${times.length}`)
    return (times[tokens] - times[0]) / tokens
  }

  abort(options) {
    return measureAbort(this.#runner, options)
  }

  memory() {
    return memory()
  }
}
