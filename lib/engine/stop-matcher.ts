/**
 * Ends a text at the first of several stop strings, without ever letting out a part of one: text that might be the
 * beginning of a stop string is held back until it is decided.
 */
export class StopMatcher {
  readonly #stops: readonly string[]
  readonly #longest: number
  #held = ''

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== '')
    this.#longest = Math.max(0, ...this.#stops.map((stop) => stop.length))
  }

  /** Takes more text; gives what may be shown and whether a stop string was met. */
  push(text: string): { text: string; stopped: boolean } {
    if (this.#longest === 0) return { text, stopped: false }
    this.#held += text
    const ends = this.#stops.map((stop) => this.#held.indexOf(stop)).filter((at) => at >= 0)
    if (ends.length > 0) {
      const shown = this.#held.slice(0, Math.min(...ends))
      this.#held = ''
      return { text: shown, stopped: true }
    }
    const keep = this.#undecided()
    const shown = this.#held.slice(0, this.#held.length - keep)
    this.#held = this.#held.slice(this.#held.length - keep)
    return { text: shown, stopped: false }
  }

  /** What was held back, once no more text comes. */
  flush(): string {
    const held = this.#held
    this.#held = ''
    return held
  }

  /** Length of the longest end of the held text that begins a stop string. */
  #undecided(): number {
    for (let length = Math.min(this.#longest - 1, this.#held.length); length > 0; length--) {
      const end = this.#held.slice(-length)
      if (this.#stops.some((stop) => stop.startsWith(end))) return length
    }
    return 0
  }
}
