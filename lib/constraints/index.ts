export type JsonSchema = boolean | { readonly [key: string]: unknown }
export type Constraint =
  | { json: JsonSchema | true }
  | { regex: string }
  | { grammar: string }
  | { choices: readonly string[] }
export interface VocabularyBytes {
  readonly size: number
  bytes(id: number): Uint8Array | null
}
export function checkConstraint(_where: string, constraint: unknown): Constraint {
  return constraint as Constraint
}
export declare class TokenTrie {
  constructor(vocabulary: VocabularyBytes)
}
export declare class CompiledConstraint {
  start(): ConstraintMatcher
}
export declare function compileConstraint(constraint: Constraint, trie: TokenTrie): CompiledConstraint
export declare class ConstraintMatcher {
  mask(into: Int32Array): void
  get mayEnd(): boolean
  get mustEnd(): boolean
  advance(id: number): void
  forcedTokens(encode: (bytes: Uint8Array) => number[]): number[]
  clone(): ConstraintMatcher
}
