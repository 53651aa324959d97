/** How often a size is run before its cost is believed. */
const trials = 3
/** Times of a size that are kept; their median is its cost, so that one disturbed step decides nothing. */
const keptTimes = 5
/** Steps after which a size that was not run is forgotten: contexts grow, neighbours come and go. It is then tried again. */
const rememberedSteps = 1024
/** Sizes up to this one are told apart; above, sixteen in each octave. */
const exactSizes = 32

interface Size {
  readonly tokens: number
  readonly times: number[]
  ms: number
  /** The step at which it was run last. */
  at: number
}

/** What steps that only decode take, by how many tokens they feed: learned while they are run. */
export class StepCosts {
  /** In ascending order of tokens. */
  #sizes: Size[] = []
  #steps = 0

  record(tokens: number, ms: number): void {
    this.#steps++
    const size = this.#sizeFor(sizeOf(tokens))
    if (!this.#isFresh(size)) size.times.length = 0
    size.at = this.#steps
    size.times.push(ms)
    if (size.times.length > keptTimes) size.times.shift()
    size.ms = median(size.times)
  }

  /** What a step of so many tokens took lately; undefined where too few were run. */
  measured(tokens: number): number | undefined {
    const wanted = sizeOf(tokens)
    return this.#sizes.find((size) => size.tokens === wanted && this.#isKnown(size))?.ms
  }

  /**
   * What a step of so many tokens is expected to take: between the sizes next to it where it was not measured, and as
   * little as the largest below it where none above was, so that it will be tried. Undefined where none below is known.
   */
  expected(tokens: number): number | undefined {
    const wanted = sizeOf(tokens)
    let below: Size | undefined
    for (const size of this.#sizes) {
      if (!this.#isKnown(size)) continue
      if (size.tokens <= wanted) below = size
      else {
        if (!below) return undefined
        const share = (wanted - below.tokens) / (size.tokens - below.tokens)
        return below.ms + share * (size.ms - below.ms)
      }
    }
    return below?.ms
  }

  #sizeFor(tokens: number): Size {
    const at = this.#sizes.findIndex((size) => size.tokens >= tokens)
    if (at >= 0 && this.#sizes[at]!.tokens === tokens) return this.#sizes[at]!
    const size: Size = { tokens, times: [], ms: 0, at: this.#steps }
    this.#sizes.splice(at < 0 ? this.#sizes.length : at, 0, size)
    return size
  }

  #isFresh(size: Size): boolean {
    return this.#steps - size.at <= rememberedSteps
  }

  #isKnown(size: Size): boolean {
    return size.times.length >= trials && this.#isFresh(size)
  }
}

/** The size that a number of tokens counts as. */
function sizeOf(tokens: number): number {
  if (tokens <= exactSizes) return tokens
  const width = 2 ** (Math.floor(Math.log2(tokens)) - 4)
  return Math.ceil(tokens / width) * width
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[sorted.length >> 1]!
}
