import { fromByteAlphabet } from './byte-alphabet.js'
import { byteOf, connectDecoder, type Decoder } from './decoder.js'
import type { Tokenizer } from './tokenizer.js'

/**
 * What a token of the model writes in the midst of a text, in UTF-8: the bytes of some tokens, one after the other, are
 * those of the text that they decode to. A token may hold a part of a character.
 */
export function bytesWithin(content: string, decoder: Decoder): Uint8Array {
  if (decoder.bytes === 'alphabet') return fromByteAlphabet(content)
  const byte = decoder.bytes === 'fallback' ? byteOf(content) : -1
  return byte >= 0 ? Uint8Array.of(byte) : new TextEncoder().encode(textWithin(content, decoder))
}

/** A token's text within a text, where nothing is stripped from its front. */
export function textWithin(content: string, decoder: Decoder): string {
  let text = ''
  const sink = {
    write: (fragment: string) => {
      text += fragment
    },
    end: () => {},
  }
  const stages = connectDecoder(decoder, sink)
  // The letter stands for the tokens before.
  stages.write('x', true)
  text = ''
  stages.write(content, true)
  stages.end()
  return text
}

/** A character that no token holds together with what follows it, in most tokenizers. */
const before = '\n'

/**
 * The ids of some text in the midst of another one, in UTF-8: without the space that SentencePiece puts before a text,
 * special tokens as text. Their bytes are those of the text wherever the tokenizer can write it.
 */
export function encodeWithin(tokenizer: Pick<Tokenizer, 'encode'>, bytes: Uint8Array): number[] {
  const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: false })
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
  const ids = encode(before + text)
  const start = encode(before)
  return start.every((id, i) => ids[i] === id) ? ids.slice(start.length) : encode(text)
}
