import type { Piece } from './messages.js'

/** Pieces that may wait for a slow reader before the engine lets its text rest, and those with which it goes on. */
const mostWaiting = 256
const fewWaiting = 64

/** Pieces between the engine, which pushes batches, and a reader, which takes them one by one. */
export class PieceQueue {
  readonly #onFull: (isFull: boolean) => void
  #waiting = 0
  #isFull = false
  #batches: (readonly Piece[])[] = []
  #ended = false
  #error: { reason: unknown } | undefined
  #wake = () => {}

  /** @param onFull told whether the reader is slow, each time that this changes */
  constructor(onFull: (isFull: boolean) => void) {
    this.#onFull = onFull
  }

  push(pieces: readonly Piece[]): void {
    this.#batches.push(pieces)
    this.#count(pieces.length)
    this.#wake()
  }

  /** No more pieces come. */
  end(): void {
    this.#ended = true
    this.#wake()
  }

  /** The reader throws `reason` instead of what is still waiting. */
  fail(reason: unknown): void {
    this.#error = { reason }
    this.#wake()
  }

  async *drain(): AsyncGenerator<Piece, void, void> {
    while (true) {
      this.#throwIfFailed()
      const batch = this.#batches.shift()
      if (batch) {
        for (const piece of batch) {
          this.#count(-1)
          yield piece
          this.#throwIfFailed()
        }
      } else if (this.#ended) return
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    }
  }

  #count(change: number): void {
    this.#waiting += change
    const isFull = this.#waiting > (this.#isFull ? fewWaiting : mostWaiting)
    if (isFull === this.#isFull) return
    this.#isFull = isFull
    this.#onFull(isFull)
  }

  #throwIfFailed(): void {
    if (this.#error) throw this.#error.reason
  }
}
