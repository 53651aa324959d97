import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { CheckpointError } from '../errors.js'
import { readAffixes } from './affixes.js'
import { readBytePairModel, requireBytePairModel } from './byte-pair-model.js'
import { readDecoder } from './decoder.js'
import { fieldError, JsonObject } from './json-object.js'
import { readNormalizer } from './normalizer.js'
import { readPreTokenizer } from './pre-tokenizer.js'
import { PipelineTokenizer, type Tokenizer } from './tokenizer.js'
import { readTokenizerConfig } from './tokenizer-config.js'
import { readVocabulary } from './vocabulary.js'

/** The largest real tokenizer.json (262,144 tokens) has 33 MB. */
const maxFileBytes = 64 * 2 ** 20

/**
 * Loads the tokenizer of a checkpoint folder in Hugging Face layout: `tokenizer.json` and, where it is
 * there, `tokenizer_config.json`. Supported are byte-pair encoding models with the normalizers,
 * pre-tokenizers and decoders that decoder-only language models use. The files are not trusted, with one
 * limit: their regular expressions run as they are, and a hostile one can take exponential time.
 *
 * @returns null where the folder has no `tokenizer.json`
 * @throws CheckpointError where a file is malformed (`ERR_FILE_FORMAT`), cannot be read
 *   (`ERR_FILE_NOT_FOUND`) or asks for what is not supported (`ERR_UNSUPPORTED`); it names file and field
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer | null> {
  const root = await readJson(join(folder, 'tokenizer.json'))
  return root === null ? null : createTokenizer(root, await readJson(join(folder, 'tokenizer_config.json')))
}

/** Makes a tokenizer of the contents of `tokenizer.json` and `tokenizer_config.json`. */
export function createTokenizer(root: JsonObject, configJson: JsonObject | null): Tokenizer {
  // First, as models of another type have another form of vocabulary.
  requireBytePairModel(root.object('model'))
  const vocabulary = readVocabulary(root)
  const config = readTokenizerConfig(configJson, vocabulary)
  return new PipelineTokenizer({
    vocabulary,
    normalizer: readNormalizer(root.optionalObject('normalizer')),
    preTokenizer: readPreTokenizer(root.optionalObject('pre_tokenizer')),
    model: readBytePairModel(root.object('model'), vocabulary),
    affixes: readAffixes(root.optionalObject('post_processor'), config, vocabulary),
    decoder: readDecoder(root.optionalObject('decoder')),
    bosId: config.bosId,
    eosId: config.eosId,
  })
}

/** null where there is no such file. */
async function readJson(file: string): Promise<JsonObject | null> {
  const bytes = await readBytes(file)
  if (bytes === null) return null
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    const message = `${file}: the file must be JSON in UTF-8 (${(error as Error).message})`
    throw new CheckpointError(
      'ERR_FILE_FORMAT',
      message,
      { file, expected: 'JSON in UTF-8' },
      { cause: error },
    )
  }
  return new JsonObject(file, '', value)
}

async function readBytes(file: string): Promise<Uint8Array | null> {
  let handle: FileHandle | undefined
  try {
    // Without O_NONBLOCK, opening a named pipe would wait for a writer.
    handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
    const stats = await handle.stat()
    if (!stats.isFile()) throw fieldError(file, '', 'a regular file', 'something else')
    if (stats.size > maxFileBytes) throw fieldError(file, '', `at most ${maxFileBytes} bytes`, stats.size)
    const { buffer, bytesRead } = await handle.read({ buffer: new Uint8Array(stats.size), position: 0 })
    return buffer.subarray(0, bytesRead)
  } catch (error) {
    if (error instanceof CheckpointError) throw error
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return null
    throw new CheckpointError(
      'ERR_FILE_NOT_FOUND',
      `${file}: cannot be read (${message})`,
      { file },
      { cause: error },
    )
  } finally {
    await handle?.close()
  }
}
