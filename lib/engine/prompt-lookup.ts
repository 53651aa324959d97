/** Places that are looked at, and tokens before each that are compared: a guess takes microseconds, however long the text. */
const mostPlaces = 16
const mostCompared = 16
/** Of a long prompt only so many tokens at its end are searched. */
const searchedTokens = 16_384

/** Where a text's last tokens stood before. */
export interface Match {
  /** The place of the token that followed them there. */
  next: number
  /** How many they are, at least 2. */
  length: number
}

/**
 * Finds where the last tokens of a growing text stood before: what followed them there is likely to follow again. Prompt
 * lookup decoding: Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding
 *
 * Every pair of neighbouring tokens is a key of an index, which knows where the pair ended last; each place knows the one
 * before it with the same pair.
 */
export class PromptLookup {
  readonly #ids: readonly number[]
  readonly #lastPlace = new Map<number, number>()
  /** For each place from `#start` on: where its pair ended before, or -1. */
  readonly #placeBefore: number[] = []
  #start = -1

  /** @param ids the text's, of which there will be more */
  constructor(ids: readonly number[]) {
    this.#ids = ids
  }

  /** The longest match, of equals the last. */
  find(): Match | undefined {
    this.#indexNew()
    const end = this.#ids.length - 1
    let best: Match | undefined
    let place = this.#before(end)
    for (let i = 0; i < mostPlaces && place >= 0; i++) {
      const length = this.#compare(place, end)
      if (length >= 2 && length > (best?.length ?? 0)) best = { next: place + 1, length }
      if (length === mostCompared) break
      place = this.#before(place)
    }
    return best
  }

  /** The `count` tokens from the match on; where it reaches the text's end, the text is taken to repeat itself. */
  read({ next }: Match, count: number): number[] {
    const period = this.#ids.length - next
    return Array.from({ length: count }, (_, i) => this.#ids[next + (i % period)]!)
  }

  #indexNew(): void {
    if (this.#start < 0) this.#start = Math.max(1, this.#ids.length - searchedTokens)
    for (let place = this.#start + this.#placeBefore.length; place < this.#ids.length; place++) {
      const key = this.#ids[place - 1]! * 2 ** 21 + this.#ids[place]! // tokens are compared; a key may stand for several pairs
      this.#placeBefore.push(this.#lastPlace.get(key) ?? -1)
      this.#lastPlace.set(key, place)
    }
  }

  #before(place: number): number {
    return this.#placeBefore[place - this.#start] ?? -1
  }

  /** How many tokens that end at two places are the same. */
  #compare(place: number, end: number): number {
    let length = 0
    while (length < mostCompared && place >= length && this.#ids[place - length] === this.#ids[end - length])
      length++
    return length
  }
}
