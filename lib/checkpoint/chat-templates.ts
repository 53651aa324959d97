import { join } from 'node:path'
import { CheckpointError } from '../errors.js'
import { GgufFiles, isGgufFile } from './gguf/gguf-files.js'
import { readJsonObject, readText, shortPath } from './json-file.js'

/** Templates have some kilobytes; tokenizer_config.json also lists a vocabulary's added tokens. */
const maxTemplateBytes = 2 ** 20
const maxConfigBytes = 64 * 2 ** 20

/** A model's chat templates in Jinja by name, as they stand in its files; its usual one is `default`. */
export type ChatTemplates = Record<string, string>

/**
 * Reads the chat templates of a folder in Hugging Face layout (`chat_template.jinja`, or `chat_template` in
 * `tokenizer_config.json`: one, or several by name), or of a GGUF file (`tokenizer.chat_template`, and others with
 * `.NAME`). They are only read, not rendered.
 *
 * @throws {CheckpointError} where one is no text, or larger than 1 MiB
 */
export async function readChatTemplates(path: string): Promise<ChatTemplates> {
  return (await isGgufFile(path)) ? ofGguf(path) : ofFolder(path)
}

function ofGguf(path: string): ChatTemplates {
  const gguf = GgufFiles.open(path)
  try {
    const { metadata } = gguf
    const prefix = 'tokenizer.chat_template'
    const keys = metadata.entries().map(([key]) => key)
    const own = keys.filter((key) => key === prefix || key.startsWith(`${prefix}.`))
    return templates(own.map((key) => [key.slice(prefix.length + 1) || 'default', metadata.string(key)]))
  } finally {
    gguf.close()
  }
}

async function ofFolder(folder: string): Promise<ChatTemplates> {
  const file = join(folder, 'tokenizer_config.json')
  const config = (await readJsonObject(file, maxConfigBytes)) ?? {}
  const named = namedTemplates(config.chat_template ?? [], shortPath(file))
  const jinja = await readText(join(folder, 'chat_template.jinja'), maxTemplateBytes)
  return templates(jinja === null ? named : [...named, ['default', jinja]])
}

function namedTemplates(field: unknown, file: string): [string, string][] {
  if (typeof field === 'string') return [['default', field]]
  const entries = Array.isArray(field) ? field : [field]
  return entries.map((entry) => {
    if (typeof entry?.name === 'string' && typeof entry.template === 'string')
      return [entry.name, entry.template]
    const problem = { file, field: 'chat_template', expected: 'a text, or a list of { name, template }' }
    throw new CheckpointError(
      'ERR_FILE_FORMAT',
      `${file}: chat_template must be ${problem.expected}`,
      problem,
    )
  })
}

function templates(entries: [string, string][]): ChatTemplates {
  // No prototype: a name may be any text.
  return Object.assign(Object.create(null) as ChatTemplates, Object.fromEntries(entries))
}
