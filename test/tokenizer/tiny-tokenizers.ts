import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadTokenizer, type Tokenizer } from '#kvasir/tokenizer/index.js'

// Small tokenizers, made here, with what the real ones of their kind have.

// biome-ignore lint/suspicious/noExplicitAny: tests put wrong values everywhere
export type Json = any

/** Writes the files of a checkpoint folder, uses it, and removes it. */
export async function withFolder<T>(
  files: Record<string, Json>,
  use: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-tokenizer-'))
  try {
    for (const [name, content] of Object.entries(files)) {
      const isRaw = typeof content === 'string' || content instanceof Uint8Array
      writeFileSync(join(folder, name), isRaw ? content : JSON.stringify(content))
    }
    return await use(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

export async function loadJson(tokenizer: Json, config?: Json): Promise<Tokenizer> {
  const files: Record<string, Json> = { 'tokenizer.json': tokenizer }
  if (config !== undefined) files['tokenizer_config.json'] = config
  const loaded = await withFolder(files, loadTokenizer)
  if (loaded === null) throw new Error('no tokenizer')
  return loaded
}

export function addedToken(id: number, content: string, flags: Json = {}): Json {
  return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, ...flags }
}

/** The 256 characters of the byte alphabet by byte, as GPT-2's `bytes_to_unicode` lists them. */
export function byteAlphabet(): string[] {
  const isPrinted = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
  let numOthers = 0
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(isPrinted(byte) ? byte : 256 + numOthers++),
  )
}

function vocabularyOf(contents: string[]): Record<string, number> {
  return Object.fromEntries(contents.map((content, id) => [content, id]))
}

export const endOfText = 267
export const startOfTurn = 268

/** GPT-2's kind. The ids of single bytes are the bytes. */
export function byteLevelJson(): Json {
  const merges = ['h e', 'l l', 'he ll', 'hell o', 'Ġ hello', 'Ġ w', 'o r', 'Ġw or', 'l d', 'Ġwor ld', 'ð Ł']
  const contents = [...byteAlphabet(), ...merges.map((merge) => merge.replace(' ', ''))]
  return {
    version: '1.0',
    added_tokens: [
      addedToken(endOfText, '<|endoftext|>', { special: true, normalized: true }),
      addedToken(startOfTurn, '<|turn|>', { special: true }),
      addedToken(269, '<think>', { special: false }),
    ],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true },
    post_processor: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true },
    model: { type: 'BPE', unk_token: null, vocab: vocabularyOf(contents), merges },
  }
}

export function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`
}

/** LLaMA's kind. The ids of byte tokens are the bytes plus 3. */
export function byteFallbackJson(): Json {
  const bytes = Array.from({ length: 256 }, (_, byte) => byteToken(byte))
  const characters = ['▁', 'h', 'e', 'l', 'o', 'w', 'r', 'd', 's', '<', '/', '>', 'é']
  const merges = [
    ['h', 'e'],
    ['l', 'l'],
    ['he', 'll'],
    ['hell', 'o'],
    ['▁', 'hello'],
    ['▁', '▁'],
    ['▁', 'w'],
    // What no real file has: merges that would make a special token of its characters.
    ['<', '/'],
    ['</', 's'],
    ['</s', '>'],
  ]
  const merged = merges.map((pair) => pair.join('')).filter((content) => content !== '</s>')
  const contents = ['<unk>', '<s>', '</s>', ...bytes, ...characters, ...merged]
  return {
    version: '1.0',
    added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => addedToken(id, content, { special: true })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      fuse_unk: true,
      byte_fallback: true,
      vocab: vocabularyOf(contents),
      merges,
    },
  }
}

export const llamaConfig = {
  tokenizer_class: 'LlamaTokenizer',
  add_bos_token: true,
  add_eos_token: false,
  bos_token: '<s>',
  eos_token: { content: '</s>', lstrip: false },
}

/** A model of single characters, without any of the other parts. */
export function charactersJson(characters: string[]): Json {
  return { model: { type: 'BPE', vocab: vocabularyOf(characters), merges: [] } }
}
