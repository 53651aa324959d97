import type { CompiledConstraint, Constraint } from '../constraints/index.js'
import type { Tokenizer } from '../tokenizer/index.js'

export function constraintCompiler(
  _tokenizer: Tokenizer | null,
  _vocabSize: number,
): (constraint: Constraint) => CompiledConstraint {
  return () => {
    throw new Error('constraints')
  }
}
