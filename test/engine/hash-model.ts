// A model without numbers: what it "computes" for a token is a hash of all ids up to it, and the next token follows from
// that. Keys and values of the wrong text, a block written by two, or a token lost on the way all show as a wrong hash.

export const blockTokens = 32

/** The hash of a text that ends with `id`, `before` being the hash of what comes before. */
export function hashOf(before: number, id: number): number {
  let h = Math.imul(before ^ Math.imul(id + 0x9e3779b9, 0x85ebca6b), 0xc2b2ae35)
  h ^= h >>> 15
  return h | 0
}

/** The hashes after each token. */
export function hashesOf(ids: readonly number[]): number[] {
  let hash = 1
  return ids.map((id) => {
    hash = hashOf(hash, id)
    return hash
  })
}

/** The token that follows a text, by its hash. */
export function tokenAfter(hash: number): number {
  return 1000 + ((hash >>> 7) % 50)
}

/** What a text is continued with. */
export function continuationOf(prompt: readonly number[], count: number): number[] {
  const ids = [...prompt]
  let hash = hashesOf(ids).at(-1)!
  for (let i = 0; i < count; i++) {
    ids.push(tokenAfter(hash))
    hash = hashOf(hash, ids.at(-1)!)
  }
  return ids.slice(prompt.length)
}

/** The paged cache: of every position the hash that was computed there. */
export class HashCache {
  readonly #cells: Int32Array

  constructor(blocks: number) {
    this.#cells = new Int32Array(blocks * blockTokens).fill(-1)
  }

  read(blocks: readonly number[], position: number): number {
    return this.#cells[blocks[position >> 5]! * blockTokens + (position & 31)]!
  }

  write(blocks: readonly number[], position: number, hash: number): void {
    this.#cells[blocks[position >> 5]! * blockTokens + (position & 31)] = hash
  }

  /** (from, to) pairs. */
  copy(pairs: readonly number[]): void {
    for (let i = 0; i < pairs.length; i += 2) {
      const from = pairs[i]! * blockTokens
      this.#cells.copyWithin(pairs[i + 1]! * blockTokens, from, from + blockTokens)
    }
  }
}
