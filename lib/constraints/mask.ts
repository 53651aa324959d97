/** The tokens that may come next: a bit each, or, where they are few, their ids. */
export class Mask {
  readonly #words: Int32Array | null
  readonly #ids: Int32Array | null

  constructor(words: Int32Array) {
    const ids = fewIds(words)
    this.#ids = ids
    this.#words = ids === null ? words : null
  }

  get sizeBytes(): number {
    return (this.#words ?? this.#ids)!.byteLength + bytesPerMask
  }

  /** Whether there is no token at all. */
  get isEmpty(): boolean {
    return this.#ids?.length === 0
  }

  /** @param into (ceil(vocabulary / 32) or more,): bit `id % 32` of word `id / 32` is set where the token may come */
  writeTo(into: Int32Array): void {
    if (this.#ids === null) {
      into.set(this.#words!)
      into.fill(0, this.#words!.length)
    } else {
      into.fill(0)
      for (const id of this.#ids) into[id >> 5]! |= 1 << (id & 31)
    }
  }
}

/** Two objects and an entry of a map, about. */
const bytesPerMask = 200

/** The ids where they take less room than the bits, else null. */
function fewIds(words: Int32Array): Int32Array | null {
  const ids: number[] = []
  for (let i = 0; i < words.length; i++) {
    for (let word = words[i]!; word !== 0; word &= word - 1) ids.push(i * 32 + 31 - Math.clz32(word & -word))
    if (ids.length > words.length / 2) return null
  }
  return Int32Array.from(ids)
}
