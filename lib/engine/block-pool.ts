import { blockTokens } from '../graph/graph.js'

/** A block's place in a chain of blocks: what it holds is decided by its tokens and all that came before them. */
interface Link {
  /** Never used again, so that a chain whose beginning was evicted cannot be met by accident. */
  id: number
  key: string
  block: number
}

/** Where a chain of published blocks stands. */
export type Chain = string

/** Begins a chain. Chains of different salts never meet. */
export function chainStart(salt: string): Chain {
  return `salt ${salt}`
}

/**
 * The blocks of the paged KV cache: who has them, and what the full ones hold, so that a later sequence with the same
 * beginning takes them as they are.
 *
 * A block is known by its tokens and the link before it, compared as they are: there are no hashes that could collide.
 * Blocks that nobody has stay known until they are needed; the one that was given back first goes first, and a sequence
 * gives its last block back first. Kwon et al. 2023, https://arxiv.org/abs/2309.06180
 */
export class BlockPool {
  readonly size: number
  /** Sequences that have a block. */
  readonly #owners: Int32Array
  readonly #links: (Link | undefined)[]
  readonly #known = new Map<string, Link>()
  /** Known blocks that nobody has, in the order in which they were given back. */
  readonly #idle = new Set<number>()
  /** Blocks that hold nothing; taken from the end, so that memory once touched is used again. */
  readonly #empty: number[] = []
  /** Blocks below were taken before. */
  #touched = 0
  #nextLink = 0

  constructor(size: number) {
    this.size = size
    this.#owners = new Int32Array(size)
    this.#links = new Array(size)
  }

  /** Blocks that can be taken. */
  get available(): number {
    return this.size - this.#touched + this.#empty.length + this.#idle.size
  }

  /** Blocks in all, and those that sequences have. */
  get counts(): { blocks: number; usedBlocks: number; blockTokens: number } {
    return { blocks: this.size, usedBlocks: this.size - this.available, blockTokens }
  }

  /** A block for one owner, its contents unknown; undefined where there is none. */
  take(): number | undefined {
    const block = this.#empty.pop() ?? this.#touch() ?? this.#evict()
    if (block !== undefined) this.#owners[block] = 1
    return block
  }

  /** One more owner. */
  share(block: number): void {
    if (this.#owners[block]!++ === 0) this.#idle.delete(block)
  }

  /** One owner less. */
  release(block: number): void {
    if (--this.#owners[block]! > 0) return
    if (this.#links[block]) this.#idle.add(block)
    else this.#empty.push(block)
  }

  owners(block: number): number {
    return this.#owners[block]!
  }

  /**
   * Makes known what a full block holds: `tokens`, after `chain`. Returns the chain that ends with it. Where another block
   * is known to hold the same, that one stays known.
   */
  publish(block: number, chain: Chain, tokens: readonly number[]): Chain {
    const key = linkKey(chain, tokens)
    let link = this.#known.get(key)
    if (!link) {
      link = { id: this.#nextLink++, key, block }
      this.#known.set(key, link)
      this.#links[block] = link
    }
    return chainAfter(link)
  }

  /** The block known to hold `tokens` after `chain`, with one more owner. */
  find(chain: Chain, tokens: readonly number[]): { block: number; chain: Chain } | undefined {
    const link = this.#known.get(linkKey(chain, tokens))
    if (!link) return undefined
    this.share(link.block)
    return { block: link.block, chain: chainAfter(link) }
  }

  #touch(): number | undefined {
    return this.#touched < this.size ? this.#touched++ : undefined
  }

  #evict(): number | undefined {
    const [block] = this.#idle
    if (block === undefined) return undefined
    this.#idle.delete(block)
    this.#known.delete(this.#links[block]!.key)
    this.#links[block] = undefined
    return block
  }
}

function chainAfter(link: Link): Chain {
  return `link ${link.id}`
}

function linkKey(chain: Chain, tokens: readonly number[]): string {
  return `${chain}:${tokens.join()}`
}
