import {
  type Constraint,
  compileConstraint,
  TokenTrie,
  type VocabularyBytes,
} from '#kvasir/constraints/index.js'
import { loadTokenizer, type Tokenizer } from '#kvasir/tokenizer/index.js'
import { rootDir, shared, sharedDir } from '../shared.js'

/** One token a byte, its id the byte. */
export const byteTrie = new TokenTrie({ size: 256, bytes: (id) => Uint8Array.of(id) })

export function vocabularyOf(tokenizer: Tokenizer): VocabularyBytes {
  return { size: tokenizer.vocabSize, bytes: (id) => tokenizer.tokenBytes(id) }
}

/** The vocabulary of the repository's own model: 1024 tokens. */
export const tinyTokenizer = (await loadTokenizer(`${rootDir}/models/tiny-shakespeare`))!
export const tinyTrie = new TokenTrie(vocabularyOf(tinyTokenizer))

/** GPT-2's vocabulary where the shared data is, else the repository's own. */
export const realTokenizer = sharedDir ? (await loadTokenizer(shared('tokenizers', 'gpt2')))! : tinyTokenizer
export const realTrie = sharedDir ? new TokenTrie(vocabularyOf(realTokenizer)) : tinyTrie

const utf8 = new TextEncoder()

/** A function that tells whether a constraint accepts a text, fed byte by byte. */
export function acceptor(constraint: Constraint): (text: string | Uint8Array) => boolean {
  const compiled = compileConstraint(constraint, byteTrie)
  return (text) => {
    const matcher = compiled.start()
    for (const byte of typeof text === 'string' ? utf8.encode(text) : text) {
      try {
        matcher.advance(byte)
      } catch (error) {
        if ((error as { code?: string }).code === 'ERR_INTERNAL') return false
        throw error
      }
    }
    return matcher.mayEnd
  }
}

/** The ids that a mask allows. */
export function idsOf(words: Int32Array, size: number): number[] {
  return Array.from({ length: size }, (_, id) => id).filter(
    (id) => ((words[id >> 5] >>> (id & 31)) & 1) === 1,
  )
}
