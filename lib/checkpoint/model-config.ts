import { join } from 'node:path'
import { CheckpointError } from '../errors.js'
import { architectureOf } from './gguf/architectures.js'
import { GgufFiles, isGgufFile } from './gguf/gguf-files.js'
import { readJsonObject } from './json-file.js'

/** The largest real config.json has a few KB. */
const maxConfigBytes = 2 ** 20

/** What a model says of itself. */
export interface ModelConfig {
  /** What `config.json` holds, or would. */
  config: Record<string, unknown>
  /** Ids that end a text, as `eos_token_id` has them: one, several or none. */
  endTokens: unknown
}

/**
 * Reads the configuration of a folder in Hugging Face layout, or of a GGUF file.
 *
 * @param where the function that asks, for messages
 * @throws {CheckpointError} when there is none, or it is malformed
 */
export async function readModelConfig(where: string, path: string): Promise<ModelConfig> {
  if (await isGgufFile(path)) return ggufConfig(path)
  const file = join(path, 'config.json')
  const config = await readJsonObject(file, maxConfigBytes)
  if (!config) throw new CheckpointError('ERR_FILE_NOT_FOUND', `${where}: ${file} is not there`, { file })
  const generation = (await readJsonObject(join(path, 'generation_config.json'), maxConfigBytes)) ?? {}
  return { config, endTokens: generation.eos_token_id ?? config.eos_token_id }
}

function ggufConfig(path: string): ModelConfig {
  const gguf = GgufFiles.open(path)
  try {
    const { metadata } = gguf
    const config = architectureOf(metadata).config(metadata, gguf.named)
    const ends = ['eos', 'eot', 'eom'].map((name) => `tokenizer.ggml.${name}_token_id`)
    return { config, endTokens: ends.filter((key) => metadata.has(key)).map((key) => metadata.integer(key)) }
  } finally {
    gguf.close()
  }
}
