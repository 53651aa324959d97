import { type CompiledConstraint, compileConstraint } from './compile.js'
import type { Constraint } from './constraint.js'
import type { TokenTrie } from './token-trie.js'

export interface ConstraintCacheOptions {
  /** Most constraints. Default 32. */
  maxEntries?: number
  /** Most bytes, about, that they take together; the latest is kept, whatever it takes. Default 256 MiB. */
  maxBytes?: number
}

/** The constraints used last over one vocabulary, compiled. */
export class ConstraintCache {
  readonly #trie: TokenTrie
  readonly #maxEntries: number
  readonly #maxBytes: number
  /** By their JSON, in the order of their last use. */
  readonly #entries = new Map<string, CompiledConstraint>()

  constructor(trie: TokenTrie, { maxEntries = 32, maxBytes = 2 ** 28 }: ConstraintCacheOptions = {}) {
    this.#trie = trie
    this.#maxEntries = maxEntries
    this.#maxBytes = maxBytes
  }

  get size(): number {
    return this.#entries.size
  }

  /** @throws ConstraintError as `compileConstraint` does; what fails is not remembered */
  get(constraint: Constraint): CompiledConstraint {
    const key = JSON.stringify(constraint)
    const compiled = this.#entries.get(key) ?? compileConstraint(constraint, this.#trie)
    this.#entries.delete(key)
    this.#entries.set(key, compiled)
    this.#makeRoom()
    return compiled
  }

  #makeRoom(): void {
    let sizeBytes = [...this.#entries.values()].reduce((sum, entry) => sum + entry.sizeBytes, 0)
    for (const [key, entry] of this.#entries) {
      const fits = this.#entries.size <= this.#maxEntries && sizeBytes <= this.#maxBytes
      if (fits || this.#entries.size === 1) return
      this.#entries.delete(key)
      sizeBytes -= entry.sizeBytes
    }
  }
}
