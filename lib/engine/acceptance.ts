/** What is believed beforehand counts as so many guesses. */
const priorGuesses = 4
/** A chance not taken lets this much less be forgotten than a guess that was verified. */
const slowness = 8

/**
 * How probable it is that a guessed token is right: smoothed over the last guesses, from a belief that holds until there are
 * any. What was learned fades where nothing is guessed, so that what once did not pay is tried again now and then.
 */
export class Acceptance {
  readonly #prior: number | Acceptance
  /** Guesses that count. */
  readonly #memory: number
  #right = 0
  #wrong = 0

  /** @param prior a probability, or the acceptance of something more general, which learns as well */
  constructor(prior: number | Acceptance, memory: number) {
    this.#prior = prior
    this.#memory = memory
  }

  get probability(): number {
    const prior = typeof this.#prior === 'number' ? this.#prior : this.#prior.probability
    return (this.#right + priorGuesses * prior) / (this.#right + this.#wrong + priorGuesses)
  }

  /** Of `drafted` tokens in a row the first `right` were; nothing is known of those after the first that was not. */
  learn(drafted: number, right: number): void {
    const wrong = right < drafted ? 1 : 0
    this.#fade((1 - 1 / this.#memory) ** (right + wrong))
    this.#right += right
    this.#wrong += wrong
    if (typeof this.#prior !== 'number') this.#prior.learn(drafted, right)
  }

  /** A token might have been guessed, and was not. */
  pass(): void {
    this.#fade(1 - 1 / (slowness * this.#memory))
    if (typeof this.#prior !== 'number') this.#prior.pass()
  }

  #fade(factor: number): void {
    this.#right *= factor
    this.#wrong *= factor
  }
}
