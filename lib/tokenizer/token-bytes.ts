import { fromByteAlphabet } from './byte-alphabet.js'
import { byteOf, connectDecoder, type Decoder } from './decoder.js'

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
