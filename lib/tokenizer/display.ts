import { fromByteAlphabet } from './byte-alphabet.js'
import { byteOf, type Decoder, spaceStage } from './decoder.js'
import { textWithin } from './token-bytes.js'

/** White space, controls and whatever else leaves no ink; U+2800 is an empty Braille cell. */
const invisible = /[\p{Z}\p{C}\p{Default_Ignorable_Code_Point}\u2800\\]/gu

const escapes: Record<string, string> = { ' ': '␣', '\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\' }

/** Renders a token on its own: what `decode` would make of it after other tokens, made visible. */
export function displayToken(content: string, isAdded: boolean, decoder: Decoder): string {
  if (isAdded || decoder.stages.includes(spaceStage)) return displayText(content)
  if (decoder.bytes === 'alphabet') return displayBytes(fromByteAlphabet(content))
  if (decoder.bytes === 'fallback' && byteOf(content) >= 0)
    return displayBytes(Uint8Array.of(byteOf(content)))
  return displayText(textWithin(content, decoder))
}

function displayBytes(bytes: Uint8Array): string {
  let shown = ''
  for (let i = 0; i < bytes.length; ) {
    const lead = bytes[i]!
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
    const char = decodeStrictly(bytes.subarray(i, i + length))
    shown += char === null ? `<0x${lead.toString(16).toUpperCase().padStart(2, '0')}>` : char
    i += char === null ? 1 : length
  }
  return displayText(shown)
}

function decodeStrictly(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null
  }
}

function displayText(text: string): string {
  if (text === '') return '<empty>'
  const shown = text.replace(
    invisible,
    (char) => escapes[char] ?? `\\u{${char.codePointAt(0)!.toString(16)}}`,
  )
  // A combining mark needs something to combine with.
  return /^\p{M}/u.test(shown) ? `◌${shown}` : shown
}
