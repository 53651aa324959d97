/** Penalties on tokens that were there before. */
export interface Penalties {
  /** Divides positive logits of tokens in the prompt or the text, and multiplies negative ones; 1 for none. */
  repetition: number
  /** Subtracted from the logits of tokens in the text. */
  presence: number
  /** Subtracted from a token's logit for each time that it is in the text. */
  frequency: number
}

/**
 * What a sequence's logits are changed by before a token is chosen: for each token concerned a factor and an offset, as the
 * op `adjust-logits` takes them. Kept up with each token that is generated.
 *
 * Repetition penalty: Keskar et al. 2019, https://arxiv.org/abs/1909.05858
 */
export class LogitEdits {
  readonly #penalties: Penalties
  readonly #bias: ReadonlyMap<number, number>
  readonly #slots = new Map<number, number>()
  #ids = new Int32Array(64)
  #factors = new Float32Array(64)
  #offsets = new Float32Array(64)
  /** How often each slot's token is in the generated text. */
  #counts = new Int32Array(64)

  constructor(penalties: Penalties, bias: ReadonlyMap<number, number>, prompt: readonly number[]) {
    this.#penalties = penalties
    this.#bias = bias
    for (const id of bias.keys()) this.#slotOf(id)
    if (penalties.repetition === 1) return
    for (const id of prompt) this.#factors[this.#slotOf(id)] = penalties.repetition
  }

  get count(): number {
    return this.#slots.size
  }
  get ids(): Int32Array {
    return this.#ids.subarray(0, this.count)
  }
  get factors(): Float32Array {
    return this.#factors.subarray(0, this.count)
  }
  get offsets(): Float32Array {
    return this.#offsets.subarray(0, this.count)
  }

  /** A token was generated. */
  add(id: number): void {
    const { repetition, presence, frequency } = this.#penalties
    if (repetition === 1 && presence === 0 && frequency === 0) return
    const slot = this.#slotOf(id)
    const count = ++this.#counts[slot]!
    this.#factors[slot] = repetition
    this.#offsets[slot] = (this.#bias.get(id) ?? 0) - presence - frequency * count
  }

  /** The same, to go its own way from here. */
  clone(): LogitEdits {
    const copy = new LogitEdits(this.#penalties, this.#bias, [])
    copy.#slots.clear()
    for (const [id, slot] of this.#slots) copy.#slots.set(id, slot)
    copy.#ids = this.#ids.slice()
    copy.#factors = this.#factors.slice()
    copy.#offsets = this.#offsets.slice()
    copy.#counts = this.#counts.slice()
    return copy
  }

  #slotOf(id: number): number {
    const known = this.#slots.get(id)
    if (known !== undefined) return known
    const slot = this.#slots.size
    if (slot === this.#ids.length) this.#grow()
    this.#slots.set(id, slot)
    this.#ids[slot] = id
    this.#factors[slot] = 1
    this.#offsets[slot] = this.#bias.get(id) ?? 0
    return slot
  }

  #grow(): void {
    const grown = <T extends Int32Array | Float32Array>(to: T, from: T): T => {
      to.set(from)
      return to
    }
    const room = 2 * this.#ids.length
    this.#ids = grown(new Int32Array(room), this.#ids)
    this.#factors = grown(new Float32Array(room), this.#factors)
    this.#offsets = grown(new Float32Array(room), this.#offsets)
    this.#counts = grown(new Int32Array(room), this.#counts)
  }
}

/** What a request changes logits by, if it does at all. */
export function editsFor(
  { penalties, logitBias }: { penalties: Penalties; logitBias: readonly [number, number][] },
  prompt: readonly number[],
): LogitEdits | null {
  const { repetition, presence, frequency } = penalties
  const none = repetition === 1 && presence === 0 && frequency === 0 && logitBias.length === 0
  return none ? null : new LogitEdits(penalties, new Map(logitBias), prompt)
}
