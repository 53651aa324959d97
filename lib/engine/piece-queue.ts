import type { Piece } from './messages.js'

/** Pieces between the engine, which pushes batches, and a reader, which takes them one by one. */
export class PieceQueue {
  #batches: (readonly Piece[])[] = []
  #ended = false
  #error: { reason: unknown } | undefined
  #wake = () => {}

  push(pieces: readonly Piece[]): void {
    this.#batches.push(pieces)
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

  #throwIfFailed(): void {
    if (this.#error) throw this.#error.reason
  }
}
