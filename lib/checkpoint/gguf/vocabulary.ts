import { JsonObject } from '../../tokenizer/json-object.js'
import { createTokenizer } from '../../tokenizer/load.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import type { GgufMetadata } from './metadata.js'
import type { PreTokenizerRule } from './pre-tokenizers.js'
import { preTokenizerRules } from './pre-tokenizers.js'

// A GGUF file's vocabulary, told as a tokenizer.json would: everything that checks and runs those is then used.

const prefix = 'tokenizer.ggml.'

/** Kinds of tokens, as `tokenizer.ggml.token_type` numbers them. */
const kinds = { unknown: 2, control: 3, userDefined: 4 } as const

/**
 * The tokenizer of a GGUF file: byte-pair encoding over bytes (`gpt2`), or over characters with scores (`llama`,
 * SentencePiece).
 *
 * @returns null where the file has no vocabulary
 * @throws {CheckpointError} where it is malformed, or of a kind that is not here
 */
export function ggufTokenizer(metadata: GgufMetadata): Tokenizer | null {
  const key = `${prefix}model`
  const model = metadata.string(key, 'no_vocab')
  if (model === 'no_vocab' || model === 'none') return null
  if (model !== 'gpt2' && model !== 'llama')
    throw metadata.error(key, 'gpt2, llama or no_vocab', model, 'ERR_UNSUPPORTED')
  const tokens = new Tokens(metadata)
  const rule = model === 'gpt2' ? preTokenizerRule(metadata) : null
  const root = rule ? bytePairs(metadata, tokens, rule) : sentencePieces(metadata, tokens)
  const json = (value: unknown) => new JsonObject(metadata.fileName, '', value)
  return createTokenizer(
    json({ ...root, added_tokens: tokens.added() }),
    json(tokens.special(rule ? (rule.addsBos ?? false) : true)),
  )
}

class Tokens {
  readonly contents: string[]
  readonly ids = new Map<string, number>()
  readonly #metadata: GgufMetadata
  readonly #kinds: ArrayLike<number>

  constructor(metadata: GgufMetadata) {
    this.#metadata = metadata
    this.contents = metadata.strings(`${prefix}tokens`)
    for (const [id, content] of this.contents.entries()) if (!this.ids.has(content)) this.ids.set(content, id)
    this.#kinds = this.numbers('token_type') ?? []
  }

  /** An array of one number a token; null where it is absent. */
  numbers(name: string): Float64Array | null {
    const key = prefix + name
    if (!this.#metadata.has(key)) return null
    const numbers = this.#metadata.numbers(key)
    const expected = `an array of ${this.contents.length} numbers, one a token`
    if (numbers.length !== this.contents.length) throw this.#metadata.error(key, expected, numbers.length)
    return numbers
  }

  is(id: number, kind: keyof typeof kinds): boolean {
    return this.#kinds[id] === kinds[kind]
  }

  /** Whether a token stands for a piece of text, and is no word of its own. */
  isOrdinary(id: number): boolean {
    return !this.is(id, 'control') && !this.is(id, 'userDefined') && !this.is(id, 'unknown')
  }

  /** Tokens that are cut out of a text before anything else; special ones are left out of what is decoded. */
  added() {
    return [...this.ids]
      .filter(([, id]) => !this.isOrdinary(id))
      .map(([content, id]) => ({
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: !this.is(id, 'userDefined'),
      }))
  }

  /** What tokenizer_config.json would hold. */
  special(addsBos: boolean) {
    const bos = this.#token('bos')
    const eos = this.#token('eos')
    return {
      bos_token: bos,
      eos_token: eos,
      add_bos_token: bos !== undefined && this.#metadata.boolean(`${prefix}add_bos_token`, addsBos),
      add_eos_token: eos !== undefined && this.#metadata.boolean(`${prefix}add_eos_token`, false),
    }
  }

  #token(name: string): string | undefined {
    const key = `${prefix}${name}_token_id`
    if (!this.#metadata.has(key)) return undefined
    const id = this.#metadata.integer(key)
    const content = this.contents[id]
    if (content === undefined)
      throw this.#metadata.error(key, `an id from 0 to ${this.contents.length - 1}`, id)
    return content
  }
}

/** The rule that `tokenizer.ggml.pre` names. */
function preTokenizerRule(metadata: GgufMetadata): PreTokenizerRule {
  const key = `${prefix}pre`
  const pre = metadata.string(key, 'default')
  const rule = preTokenizerRules.get(pre)
  if (!rule)
    throw metadata.error(key, `one of ${[...preTokenizerRules.keys()].join(', ')}`, pre, 'ERR_UNSUPPORTED')
  return rule
}

function bytePairs(metadata: GgufMetadata, tokens: Tokens, rule: PreTokenizerRule) {
  const splits = rule.patterns.map((Regex) => ({
    type: 'Split',
    pattern: { Regex },
    behavior: 'Isolated',
    invert: false,
  }))
  const model = {
    type: 'BPE',
    vocab: Object.fromEntries(tokens.ids),
    merges: metadata.strings(`${prefix}merges`),
    ignore_merges: rule.wholeWords ?? false,
  }
  if (rule.ofCharacters) {
    return {
      normalizer: spacesToSigns,
      pre_tokenizer: { type: 'Sequence', pretokenizers: splits },
      decoder: { type: 'Sequence', decoders: ofSignsAndBytes },
      model: { ...model, byte_fallback: true, fuse_unk: true },
    }
  }
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false }
  return {
    pre_tokenizer: { type: 'Sequence', pretokenizers: [...splits, bytes] },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model,
  }
}

// SentencePiece shows spaces by a sign, and characters that are no tokens by their bytes.
const space = '\u2581'
const spacesToSigns = { type: 'Replace', pattern: { String: ' ' }, content: space }
const ofSignsAndBytes = [
  { type: 'Replace', pattern: { String: space }, content: ' ' },
  { type: 'ByteFallback' },
  { type: 'Fuse' },
]

function sentencePieces(metadata: GgufMetadata, tokens: Tokens) {
  const scores = tokens.numbers('scores')
  if (!scores) throw metadata.error(`${prefix}scores`, 'an array of one number a token', undefined)
  if (scores.some((score) => Number.isNaN(score)))
    throw metadata.error(`${prefix}scores`, 'numbers', Number.NaN)
  const unknown = tokens.contents.find((_, id) => tokens.is(id, 'unknown'))
  const prefixed = metadata.boolean(`${prefix}add_space_prefix`, true)
  return {
    normalizer: {
      type: 'Sequence',
      normalizers: [...(prefixed ? [{ type: 'Prepend', prepend: space }] : []), spacesToSigns],
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        ...ofSignsAndBytes,
        ...(prefixed ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(tokens.ids),
      merges: scoredMerges(tokens, scores),
      unk_token: unknown,
      fuse_unk: true,
      byte_fallback: true,
    },
  }
}

/** SentencePiece merges the pair whose token has the best score: every pair that makes a token, in that order. */
function scoredMerges(tokens: Tokens, scores: ArrayLike<number>): [string, string][] {
  const merges: { pair: [string, string]; score: number; parts: [number, number] }[] = []
  for (const [content, id] of tokens.ids) {
    if (!tokens.isOrdinary(id)) continue
    for (let cut = 1; cut < content.length; cut++) {
      const pair: [string, string] = [content.slice(0, cut), content.slice(cut)]
      const parts = pair.map((part) => tokens.ids.get(part) ?? -1) as [number, number]
      if (parts.every((part) => part >= 0 && tokens.isOrdinary(part)))
        merges.push({ pair, score: scores[id]!, parts })
    }
  }
  merges.sort((a, b) => b.score - a.score || a.parts[0] - b.parts[0] || a.parts[1] - b.parts[1])
  return merges.map(({ pair }) => pair)
}
