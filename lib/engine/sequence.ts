import { blockTokens } from '../graph/graph.js'
import type { BlockPool, Chain } from './block-pool.js'
import { chainStart } from './block-pool.js'

export interface SequenceOptions {
  /** Prefixes are shared among sequences of the same salt. */
  salt?: string
  /** Whether blocks of other sequences are taken, and own ones made known. */
  reusesPrefix?: boolean
}

/** A text in the making: its ids, and the blocks of the cache that hold its keys and values. */
export class Sequence {
  readonly ids: number[]
  /** Tokens whose keys and values are in the cache: `ids[0..computed)`. */
  computed = 0
  readonly #options: Required<SequenceOptions>
  readonly #blocks: number[] = []
  /** For each block that the pool knows, from the first: the chain that ends with it. */
  readonly #chains: Chain[] = []

  constructor(ids: readonly number[], { salt = '', reusesPrefix = true }: SequenceOptions = {}) {
    this.ids = [...ids]
    this.#options = { salt, reusesPrefix }
  }

  get blocks(): readonly number[] {
    return this.#blocks
  }

  /** Tokens that are still to be fed. */
  get pending(): number {
    return this.ids.length - this.computed
  }

  /** Blocks that `length` tokens need beside those it has. */
  missingBlocks(length: number): number {
    return Math.max(0, Math.ceil(length / blockTokens) - this.#blocks.length)
  }

  /** Takes blocks for `length` tokens. False where the pool has too few; those taken are kept. */
  reserve(length: number, pool: BlockPool): boolean {
    for (let missing = this.missingBlocks(length); missing > 0; missing--) {
      const block = pool.take()
      if (block === undefined) return false
      this.#blocks.push(block)
    }
    return true
  }

  /** Takes the known blocks that its tokens begin with, where it has none yet. The last token is always left to compute. */
  takePrefix(pool: BlockPool): void {
    if (!this.#options.reusesPrefix || this.#blocks.length > 0) return
    const most = Math.floor((this.ids.length - 1) / blockTokens)
    while (this.#blocks.length < most) {
      const found = pool.find(this.#chain, this.#tokensOf(this.#blocks.length))
      if (!found) break
      this.#blocks.push(found.block)
      this.#chains.push(found.chain)
    }
    this.computed = this.#blocks.length * blockTokens
  }

  /** Notes that the tokens before `computed` are in the cache, and makes full blocks known. */
  commit(computed: number, pool: BlockPool): void {
    this.computed = computed
    if (!this.#options.reusesPrefix) return
    for (let i = this.#chains.length; (i + 1) * blockTokens <= computed; i++)
      this.#chains.push(pool.publish(this.#blocks[i]!, this.#chain, this.#tokensOf(i)))
  }

  /** Gives all blocks back. What they hold is to be computed again, as far as the pool does not keep it. */
  release(pool: BlockPool): void {
    this.#releaseFrom(0, pool)
  }

  /** Forgets the tokens from `length` on. What else a block holds that others may have is to be computed again. */
  truncate(length: number, pool: BlockPool): void {
    this.ids.length = length
    this.computed = Math.min(this.computed, length)
    this.#releaseFrom(Math.ceil(length / blockTokens), pool)
    const last = Math.floor(length / blockTokens)
    if (last >= this.#blocks.length) return
    if (last < this.#chains.length || pool.owners(this.#blocks[last]!) > 1) this.#releaseFrom(last, pool)
  }

  /**
   * A sequence of the first `length` tokens that shares their blocks. A block that is not full is copied: `copies` gets its
   * number and the copy's. Where the pool has none for that, the tokens in it are left to compute.
   */
  fork(length: number, pool: BlockPool, copies: number[]): Sequence {
    const fork = new Sequence(this.ids.slice(0, length), this.#options)
    const held = Math.min(length, this.computed)
    const full = Math.floor(held / blockTokens)
    for (let i = 0; i < full; i++) {
      pool.share(this.#blocks[i]!)
      fork.#blocks.push(this.#blocks[i]!)
    }
    fork.#chains.push(...this.#chains.slice(0, full))
    fork.computed = full * blockTokens
    const copy = held % blockTokens === 0 ? undefined : pool.take()
    if (copy === undefined) return fork
    copies.push(this.#blocks[full]!, copy)
    fork.#blocks.push(copy)
    fork.computed = held
    return fork
  }

  get #chain(): Chain {
    return this.#chains.at(-1) ?? chainStart(this.#options.salt)
  }

  #tokensOf(block: number): number[] {
    return this.ids.slice(block * blockTokens, (block + 1) * blockTokens)
  }

  /** The last block first: what a text begins with is wanted again more often than how it ended. */
  #releaseFrom(first: number, pool: BlockPool): void {
    while (this.#blocks.length > first) pool.release(this.#blocks.pop()!)
    this.#chains.length = Math.min(this.#chains.length, first)
    this.computed = Math.min(this.computed, first * blockTokens)
  }
}
