import type { Tokenizer } from '../tokenizer/index.js'
import { loadTokenizer } from '../tokenizer/index.js'
import { GgufFiles, isGgufFile } from './gguf/gguf-files.js'
import { ggufTokenizer } from './gguf/vocabulary.js'

/**
 * The tokenizer of a folder in Hugging Face layout, or of a GGUF file.
 *
 * @returns null where there is none
 * @throws {CheckpointError} where it is malformed or of a kind that is not supported
 */
export async function loadModelTokenizer(path: string): Promise<Tokenizer | null> {
  if (!(await isGgufFile(path))) return loadTokenizer(path)
  const gguf = GgufFiles.open(path)
  try {
    return ggufTokenizer(gguf.metadata)
  } finally {
    gguf.close()
  }
}
