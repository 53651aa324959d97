import { invalidType, invalidValue } from '../errors.js'
import { AddedTokenSplitter } from './added-tokens.js'
import type { Affixes } from './affixes.js'
import type { BytePairEncoder } from './byte-pair-encoder.js'
import type { Decoder } from './decoder.js'
import { displayToken } from './display.js'
import type { Normalizer } from './normalizer.js'
import type { PreTokenizer } from './pre-tokenizer.js'
import { checkId, StagedStreamDecoder, type StreamDecoder } from './stream-decoder.js'
import { bytesWithin } from './token-bytes.js'
import type { Vocabulary } from './vocabulary.js'

export interface EncodeOptions {
  /** Whether to add what the tokenizer puts around a text, such as LLaMA's BOS. Default true. */
  addSpecialTokens?: boolean
  /**
   * Whether "<|endoftext|>" or "</s>" in the text becomes the special token of that name. Default false:
   * it is text like any other, so that what a user writes cannot pose as the structure of a prompt. (Where
   * a model has a token for unknown characters, these still become that one.)
   */
  parseSpecialTokens?: boolean
  /** A character that is taken out of the text once special tokens were looked for: it keeps a text from being one. */
  mark?: string
}

export interface DecodeOptions {
  /** Whether special tokens appear in the text. Default false. */
  keepSpecialTokens?: boolean
}

export interface StreamDecodeOptions extends DecodeOptions {
  /**
   * Ids that come before: the pieces are what the pushed ids add to their text. A character that these
   * ids leave incomplete belongs to the pieces.
   */
  after?: ArrayLike<number>
  /**
   * Whether the pieces are in the midst of a text, even if the ids before stand for none, such as BOS alone: nothing is
   * taken away at their beginning, so that their bytes are those that `tokenBytes` tells. Default false.
   */
  within?: boolean
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** The number of ids, those of added tokens included: one more than the largest. */
  readonly vocabSize: number
  /** The token that begins a text, if the tokenizer's configuration names one. */
  readonly bosId: number | null
  /** The token that ends a text, if the tokenizer's configuration names one. */
  readonly eosId: number | null
  /**
   * Text to ids. Lone surrogates count as U+FFFD. Takes about 0.4 microseconds a character, at most
   * about 1.5, whatever the text.
   *
   * @throws TypeError where `text` is not a string
   * @throws RangeError where it has more than 2^24 UTF-16 code units, or millions without a space
   */
  encode(text: string, options?: EncodeOptions): number[]
  /**
   * Ids to text. Bytes that are not UTF-8 become U+FFFD; spaces before punctuation stay
   * (`clean_up_tokenization_spaces` is not applied), so that no text depends on what follows it.
   *
   * @throws RangeError where an id is none of the tokenizer's
   */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string
  /**
   * A token for people to read, never empty or blank: a space is "␣", other invisible characters and the
   * backslash are escaped as in JavaScript (`\n`, `\u{200b}`), bytes that are not UTF-8 on their own are
   * `<0xE2>`, a leading combining mark stands on "◌". Where no token has the id: `<unused 151670>`.
   */
  display(id: number): string
  /**
   * What a token writes in the midst of a text, in UTF-8, possibly a part of a character; null for tokens that no text
   * is made of: special and added ones, and ids that have no token. SentencePiece's "▁" is a space; at the beginning
   * of a text decoders take that of the first token away (see `StreamDecodeOptions.within`).
   *
   * @throws RangeError where `id` is not an integer from 0 to 2^31 - 1
   */
  tokenBytes(id: number): Uint8Array | null
  /** Whether an id stands for no text, such as BOS and EOS. */
  isSpecial(id: number): boolean
  /** The texts of special tokens, by id. */
  specialTokens(): ReadonlyMap<number, string>
  /** A decoder for ids that come one by one. */
  streamDecoder(options?: StreamDecodeOptions): StreamDecoder
}

/** The parts of a tokenizer, in the order in which a text passes through them, and the way back. */
export interface TokenizerParts {
  vocabulary: Vocabulary
  normalizer: Normalizer
  preTokenizer: PreTokenizer
  model: BytePairEncoder
  affixes: Affixes
  decoder: Decoder
  bosId: number | null
  eosId: number | null
}

/** Bounds the memory of encoding, which is up to about 100 bytes a character. */
const maxTextLength = 2 ** 24
/** A normalizer may lengthen a text; beyond, its symbols could not be counted in 28 bits. */
const maxNormalizedLength = 2 ** 26

/** A tokenizer as a `tokenizer.json` describes it. */
export class PipelineTokenizer implements Tokenizer {
  readonly vocabSize: number
  readonly bosId: number | null
  readonly eosId: number | null
  readonly #parts: TokenizerParts
  /** Finds added tokens in the text itself, and those that are looked for in the normalized text. */
  readonly #splitter: AddedTokenSplitter
  readonly #normalizedSplitter: AddedTokenSplitter

  constructor(parts: TokenizerParts) {
    const { addedTokens } = parts.vocabulary
    this.#parts = parts
    this.vocabSize = parts.vocabulary.size
    this.bosId = parts.bosId
    this.eosId = parts.eosId
    this.#splitter = new AddedTokenSplitter(
      addedTokens.filter((token) => !token.normalized),
      (token) => token.content,
    )
    this.#normalizedSplitter = new AddedTokenSplitter(
      addedTokens.filter((token) => token.normalized),
      (token) => parts.normalizer(token.content),
    )
  }

  encode(text: string, options: EncodeOptions = {}): number[] {
    const { addSpecialTokens = true } = options
    if (typeof text !== 'string') throw invalidType('encode: text', 'a string', text)
    if (text.length > maxTextLength) {
      throw invalidValue('encode: text.length', `at most ${maxTextLength}`, text.length)
    }
    const { normalizer, affixes } = this.#parts
    const ids: number[] = addSpecialTokens ? [...affixes.before] : []
    const wellFormed = text.replace(/\p{Surrogate}/gu, '\ufffd')
    let atStart = true
    for (const section of this.#splitter.split(wellFormed, options.parseSpecialTokens ?? false)) {
      if (typeof section === 'string') this.#encodeNormalized(normalizer(section), atStart, options, ids)
      else ids.push(section.id)
      atStart = false
    }
    if (addSpecialTokens) ids.push(...affixes.after)
    return ids
  }

  #encodeNormalized(text: string, startsInput: boolean, options: EncodeOptions, ids: number[]): void {
    const { parseSpecialTokens = false, mark } = options
    if (text.length > maxNormalizedLength) {
      throw invalidValue(
        'encode: length of the normalized text',
        `at most ${maxNormalizedLength}`,
        text.length,
      )
    }
    let atStart = startsInput
    for (const section of this.#normalizedSplitter.split(text, parseSpecialTokens)) {
      if (typeof section === 'string') {
        const plain = mark ? section.replaceAll(mark, '') : section
        for (const word of this.#parts.preTokenizer(plain, atStart)) this.#parts.model.encode(word, ids)
      } else {
        ids.push(section.id)
      }
      atStart = false
    }
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    checkIds('decode: ids', ids, this.vocabSize)
    const decoder = this.streamDecoder(options)
    let text = ''
    for (let i = 0; i < ids.length; i++) text += decoder.push(ids[i]!)
    return text + decoder.flush()
  }

  display(id: number): string {
    checkId('display: id', id)
    const { vocabulary, decoder } = this.#parts
    const content = vocabulary.contentOf(id)
    return content === undefined ? `<unused ${id}>` : displayToken(content, vocabulary.isAdded(id), decoder)
  }

  tokenBytes(id: number): Uint8Array | null {
    checkId('tokenBytes: id', id)
    const { vocabulary, decoder } = this.#parts
    const content = vocabulary.contentOf(id)
    const isText = content !== undefined && !vocabulary.isAdded(id) && !vocabulary.isSpecial(id)
    return isText ? bytesWithin(content, decoder) : null
  }

  isSpecial(id: number): boolean {
    return this.#parts.vocabulary.isSpecial(id)
  }

  specialTokens(): ReadonlyMap<number, string> {
    const special = this.#parts.vocabulary.addedTokens.filter((token) => token.special)
    return new Map(special.map(({ id, content }) => [id, content]))
  }

  streamDecoder(options: StreamDecodeOptions = {}): StreamDecoder {
    const { after = [], keepSpecialTokens = false, within = false } = options
    const { vocabulary, decoder } = this.#parts
    checkIds('streamDecoder: after', after)
    const stream = new StagedStreamDecoder({ vocabulary, decoder, keepsSpecialTokens: keepSpecialTokens })
    if (within) stream.startWithin()
    for (let i = 0; i < after.length; i++) stream.push(after[i]!)
    return stream
  }
}

function checkIds(where: string, ids: ArrayLike<number>, vocabSize?: number): void {
  if (typeof ids !== 'object' || ids === null || !Number.isInteger(ids.length)) {
    throw invalidType(where, 'an array of token ids', ids)
  }
  for (let i = 0; i < ids.length; i++) checkId(`${where}[${i}]`, ids[i], vocabSize)
}
