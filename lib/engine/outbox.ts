import type { FromWorker, Piece } from './messages.js'
import { addPiece, emptyColumns } from './piece-columns.js'

/**
 * Pieces are posted at most this often: a small model makes many thousand a second, and a message, which wakes another
 * thread, takes as long as all else that is done for a token.
 */
const postIntervalMs = 8

/** Collects what goes to the caller's thread: pieces of all texts in one message, answers after their pieces. */
export class Outbox {
  readonly #post: (message: FromWorker, transfer?: ArrayBuffer[]) => void
  readonly #begun = new Set<number>()
  #pieces = emptyColumns()
  #postedAt = 0
  #urgent = false

  constructor(post: (message: FromWorker, transfer?: ArrayBuffer[]) => void) {
    this.#post = post
  }

  /** A request's piece. The first one goes with the next step's end. */
  push(id: number, piece: Piece): void {
    addPiece(this.#pieces, id, piece)
    if (this.#begun.has(id)) return
    this.#begun.add(id)
    this.#urgent = true
  }

  /** A request's last message. */
  answer(message: Extract<FromWorker, { type: 'result' | 'error' }>, transfer?: ArrayBuffer[]): void {
    this.flush()
    this.#begun.delete(message.id)
    this.#post(message, transfer)
  }

  /** Posts the pieces if it is time. */
  flushDue(): void {
    if (this.#urgent || performance.now() - this.#postedAt >= postIntervalMs) this.flush()
  }

  flush(): void {
    if (this.#pieces.requests.length === 0) return
    this.#post({ type: 'pieces', columns: this.#pieces })
    this.#pieces = emptyColumns()
    this.#postedAt = performance.now()
    this.#urgent = false
  }
}
