/** Lets what concerns the same thing take effect one after another, in the order in which it came. */
export class Turns<T> {
  /** For each thing that somebody is busy with: those behind. */
  readonly #behind = new Map<number, T[]>()

  /** Whether it is the turn of what came; if not, it waits until those before it have ended. */
  take(thing: number, value: T): boolean {
    const behind = this.#behind.get(thing)
    if (behind) behind.push(value)
    else this.#behind.set(thing, [])
    return behind === undefined
  }

  /** The one whose turn it was has ended; those behind it, which are to come again. */
  end(thing: number): T[] {
    const behind = this.#behind.get(thing) ?? []
    this.#behind.delete(thing)
    return behind
  }
}
