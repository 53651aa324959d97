/** A set of bytes: 256 bits in eight words. Sets are values: nothing changes one after it was made. */
export class ByteSet {
  readonly words: Uint32Array

  constructor(words: Uint32Array = new Uint32Array(8)) {
    this.words = words
  }

  static of(...bytes: number[]): ByteSet {
    const words = new Uint32Array(8)
    for (const byte of bytes) words[byte >> 5]! |= 1 << (byte & 31)
    return new ByteSet(words)
  }

  /** The bytes from `first` to `last`, both included. */
  static range(first: number, last: number): ByteSet {
    const words = new Uint32Array(8)
    for (let byte = first; byte <= last; byte++) words[byte >> 5]! |= 1 << (byte & 31)
    return new ByteSet(words)
  }

  /** The bytes of a text in ASCII. */
  static ascii(text: string): ByteSet {
    return ByteSet.of(...[...text].map((char) => char.charCodeAt(0)))
  }

  has(byte: number): boolean {
    return ((this.words[byte >> 5]! >>> (byte & 31)) & 1) === 1
  }

  union(other: ByteSet): ByteSet {
    return new ByteSet(this.words.map((word, i) => word | other.words[i]!))
  }

  intersection(other: ByteSet): ByteSet {
    return new ByteSet(this.words.map((word, i) => word & other.words[i]!))
  }

  get isEmpty(): boolean {
    return this.words.every((word) => word === 0)
  }

  get bytes(): number[] {
    return Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => this.has(byte))
  }

  /** The same for equal sets, different for others. */
  get key(): string {
    return this.words.join()
  }
}
