import type { CompiledConstraint, Constraint } from '../constraints/index.js'
import { ConstraintCache, TokenTrie } from '../constraints/index.js'
import { KvasirError } from '../errors.js'
import type { Tokenizer } from '../tokenizer/index.js'

/**
 * Compiles constraints for a model's vocabulary, and keeps those used last. The vocabulary's trie is built for the first.
 *
 * @throws {ConstraintError} when one cannot be compiled
 */
export function constraintCompiler(
  tokenizer: Tokenizer | null,
  vocabSize: number,
): (constraint: Constraint) => CompiledConstraint {
  let cache: ConstraintCache | undefined
  return (constraint) => {
    if (!tokenizer)
      throw new KvasirError(
        'ERR_UNSUPPORTED',
        'generate: constraint needs a tokenizer, and the model has none',
      )
    const bytes = (id: number) => (id < tokenizer.vocabSize ? tokenizer.tokenBytes(id) : null)
    cache ??= new ConstraintCache(new TokenTrie({ size: vocabSize, bytes }))
    return cache.get(constraint)
  }
}
