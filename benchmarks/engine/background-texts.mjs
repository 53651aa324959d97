/** More than are ever waited for, and no more than the context holds. */
const mostTokens = 900

/** Texts that are continued while something else is measured. */
export class BackgroundTexts {
  /** When each text's tokens came. */
  #times
  #stopped = false
  #wake = () => {}
  #done

  /** Resolves once each text has `tokens` more tokens than its first. */
  static async start(runner, prompts, tokens) {
    const texts = new BackgroundTexts()
    texts.#times = prompts.map(() => [])
    const all = prompts.map((ids, i) =>
      runner.generate(ids, { maxTokens: mostTokens, onToken: () => texts.#onToken(texts.#times[i]) }),
    )
    texts.#done = Promise.all(all)
    texts.#done.catch((error) => texts.#wake(error))
    await texts.moreTokens(tokens + 1)
    return texts
  }

  #onToken(times) {
    times.push(performance.now())
    this.#wake()
    return !this.#stopped
  }

  /** Resolves once each text has so many more tokens. */
  async moreTokens(count) {
    const goals = this.#times.map((times) => times.length + count)
    if (goals.some((goal) => goal > mostTokens)) throw new Error('background: its texts are too short')
    while (this.#times.some((times, i) => times.length < goals[i])) {
      const error = await new Promise((resolve) => {
        this.#wake = resolve
      })
      if (error) throw error
    }
  }

  /** Milliseconds between neighbouring tokens, of all texts, where any of it is between the two times. */
  gaps(from, until) {
    const pairs = this.#pairs().filter(([before, after]) => after > from && before < until)
    return pairs.map(([before, after]) => after - before)
  }

  /** The same of those that were there before `time`, from when all texts had begun. */
  gapsBefore(time) {
    const begun = Math.max(...this.#times.map((times) => times[0]))
    const pairs = this.#pairs().filter(([before, after]) => before >= begun && after <= time)
    return pairs.map(([before, after]) => after - before)
  }

  #pairs() {
    return this.#times.flatMap((times) => times.slice(1).map((time, i) => [times[i], time]))
  }

  async stop() {
    this.#stopped = true
    await this.#done
  }
}
