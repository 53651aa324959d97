import { MinHeap } from './min-heap.js'

export interface BytePairRules {
  /** Ids of the tokens that text may become. */
  ids: ReadonlyMap<string, number>
  /** Pairs of ids by the rank of their merge, lowest first, and what each becomes. */
  merges: readonly { left: number; right: number; merged: number }[]
  /** For characters without a token, the 256 tokens of UTF-8 bytes; null or undefined where there are none. */
  byteIds: readonly (number | undefined)[] | null
  /** For characters that have neither; null leaves them out. */
  unknownId: number | null
  /** Whether unknown characters next to each other are one token. */
  fusesUnknown: boolean
  /** Whether a word that is a token itself needs no merges. */
  prefersWholeWords: boolean
}

/** The space of SentencePiece vocabularies. */
const space = '▁'

/** A position takes 28 bits and a rank 24 of a double's 53; text and merges are bounded accordingly. */
const positionRange = 2 ** 28

/** Short words recur: of those of English prose, 92 to 98 in a hundred are found in the cache. */
const maxCachedLength = 32
const maxCachedWords = 16384

const utf8 = new TextEncoder()

/** A string of its own: a slice would keep the whole text alive that it was cut from. */
function copyOf(word: string): string {
  return Buffer.from(word, 'utf16le').toString('utf16le')
}

/**
 * Byte-pair encoding: a word starts as its characters, and the pair of neighbours whose merge ranks
 * lowest, the leftmost of several, is merged until there is none. O(n log n) in the word's length.
 *
 * Sennrich et al. 2016, https://arxiv.org/abs/1508.07909
 */
export class BytePairEncoder {
  readonly #rules: BytePairRules
  /** Rank of a merge by its left id, then by its right one. */
  readonly #ranks: (Map<number, number> | undefined)[] = []
  readonly #splitsAtSpace: boolean
  readonly #cache = new Map<string, number[]>()

  constructor(rules: BytePairRules) {
    this.#rules = rules
    rules.merges.forEach(({ left, right }, rank) => {
      this.#ranks[left] ??= new Map()
      this.#ranks[left].set(right, rank)
    })
    this.#splitsAtSpace = this.#neverMergesBeforeSpace()
  }

  /**
   * Whether no token has a space after another character. Then no merge reaches across the place before
   * a space, and words can be encoded one by one: 2.5 times as fast, as most are in the cache. (Such models
   * get whole texts: they have no pre-tokenizer.)
   */
  #neverMergesBeforeSpace(): boolean {
    if (!this.#rules.ids.has(space)) return false
    for (const content of this.#rules.ids.keys()) if (/[^▁]▁/u.test(content)) return false
    return true
  }

  /** Appends the ids of a word. */
  encode(word: string, out: number[]): void {
    const whole = this.#rules.prefersWholeWords ? this.#rules.ids.get(word) : undefined
    if (whole !== undefined) out.push(whole)
    else if (!this.#splitsAtSpace) this.#encodeCached(word, out)
    else this.#encodeSpaced(word, out)
  }

  /** Cuts before each run of spaces. */
  #encodeSpaced(text: string, out: number[]): void {
    let start = 0
    for (let i = text.indexOf(space, 1); i > 0; i = text.indexOf(space, i + 1)) {
      if (text[i - 1] === space) continue
      this.#encodeCached(text.slice(start, i), out)
      start = i
    }
    this.#encodeCached(text.slice(start), out)
  }

  #encodeCached(word: string, out: number[]): void {
    if (word.length > maxCachedLength) {
      for (const id of this.#merge(this.#symbolsOf(word))) out.push(id)
      return
    }
    let ids = this.#cache.get(word)
    if (ids === undefined) {
      ids = this.#merge(this.#symbolsOf(word))
      if (this.#cache.size === maxCachedWords) this.#cache.clear()
      this.#cache.set(copyOf(word), ids)
    }
    for (const id of ids) out.push(id)
  }

  #symbolsOf(word: string): number[] {
    const { ids, unknownId, fusesUnknown } = this.#rules
    const symbols: number[] = []
    let afterUnknown = false
    for (const char of word) {
      const id = ids.get(char)
      const known = id === undefined ? this.#bytesOf(char) : id
      if (typeof known === 'number') symbols.push(known)
      else if (known !== null) symbols.push(...known)
      else if (unknownId !== null && !(fusesUnknown && afterUnknown)) symbols.push(unknownId)
      afterUnknown = known === null
    }
    return symbols
  }

  #bytesOf(char: string): number[] | null {
    const { byteIds } = this.#rules
    if (byteIds === null) return null
    const bytes = Array.from(utf8.encode(char), (byte) => byteIds[byte])
    return bytes.every((id) => id !== undefined) ? bytes : null
  }

  /** Merges in place: symbol i is followed by symbol `next[i]`; one merged into its neighbour becomes -1. */
  #merge(symbols: number[]): number[] {
    const length = symbols.length
    if (length < 2) return symbols
    const next = new Int32Array(length)
    const previous = new Int32Array(length)
    for (let i = 0; i < length; i++) {
      next[i] = i + 1
      previous[i] = i - 1
    }
    const candidates = new MinHeap()
    const consider = (i: number) => {
      const rank = this.#ranks[symbols[i]!]?.get(symbols[next[i]!]!)
      if (rank !== undefined) candidates.push(rank * positionRange + i)
    }
    for (let i = 0; i + 1 < length; i++) consider(i)
    for (let candidate = candidates.pop(); candidate !== undefined; candidate = candidates.pop()) {
      const i = candidate % positionRange
      const rank = (candidate - i) / positionRange
      const right = next[i]!
      // An earlier merge may have taken one of the two.
      if (symbols[i]! < 0 || right === length) continue
      if (this.#ranks[symbols[i]!]?.get(symbols[right]!) !== rank) continue
      symbols[i] = this.#rules.merges[rank]!.merged
      symbols[right] = -1
      next[i] = next[right]!
      if (next[i]! < length) previous[next[i]!] = i
      if (i > 0) consider(previous[i]!)
      if (next[i]! < length) consider(i)
    }
    return symbols.filter((id) => id >= 0)
  }
}
