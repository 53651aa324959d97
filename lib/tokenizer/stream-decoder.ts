import { invalidValue } from '../errors.js'
import { toByteAlphabet } from './byte-alphabet.js'
import { connectDecoder, type Decoder, type PieceSink } from './decoder.js'
import type { Vocabulary } from './vocabulary.js'

/**
 * Turns ids into text one by one. All texts returned, in order, are what `decode` makes of all ids.
 */
export interface StreamDecoder {
  /**
   * Takes the next id and returns the text that is now certain: whole characters, the empty string while
   * one is incomplete. An id beyond the vocabulary, which a model with a padded head can predict, has no
   * text.
   *
   * @throws RangeError where `id` is not an integer from 0 to 2^31 - 1
   */
  push(id: number): string
  /** Ends the text and returns what was held back; the next id then begins another text. */
  flush(): string
}

export interface DecodeRules {
  vocabulary: Vocabulary
  decoder: Decoder
  keepsSpecialTokens: boolean
}

/** Runs a decoder's stages; constant time for each id. */
export class StagedStreamDecoder implements StreamDecoder {
  readonly #rules: DecodeRules
  readonly #sink: PieceSink = {
    write: (fragment) => {
      this.#text += fragment
    },
    end: () => {},
  }
  #stages: PieceSink
  #text = ''

  constructor(rules: DecodeRules) {
    this.#rules = rules
    this.#stages = connectDecoder(rules.decoder, this.#sink)
  }

  /** Goes on as if there had been text before. */
  startWithin(): void {
    this.#stages.write('x', true)
    this.#text = ''
  }

  push(id: number): string {
    const { vocabulary, decoder, keepsSpecialTokens } = this.#rules
    checkId('StreamDecoder.push: id', id)
    const content = vocabulary.contentOf(id)
    if (content === undefined || (vocabulary.isSpecial(id) && !keepsSpecialTokens)) return ''
    // An added token is text, whatever its characters would stand for in the byte alphabet.
    const isText = decoder.bytes === 'alphabet' && vocabulary.isAdded(id)
    this.#stages.write(isText ? toByteAlphabet(content) : content, true)
    return this.#take()
  }

  flush(): string {
    this.#stages.end()
    this.#stages = connectDecoder(this.#rules.decoder, this.#sink)
    return this.#take()
  }

  #take(): string {
    const text = this.#text
    this.#text = ''
    return text
  }
}

export function checkId(where: string, id: unknown, size = 2 ** 31): asserts id is number {
  if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= size) {
    throw invalidValue(where, `a token id from 0 to ${size - 1}`, id)
  }
}
