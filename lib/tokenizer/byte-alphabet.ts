/**
 * The byte alphabet of byte-level BPE: one printable character for each of the 256 bytes, so that any
 * text is a string over it. Bytes that Latin-1 prints stand for themselves; the other 68 are U+0100
 * onwards, in order ("Ġ" is the space).
 *
 * Radford et al. 2019, Language Models are Unsupervised Multitask Learners.
 */
const charOfByte: string[] = []
const byteOfCharCode = new Int16Array(0x180).fill(-1)

let nextCode = 0x100
for (let byte = 0; byte < 256; byte++) {
  const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad)
  const code = printable ? byte : nextCode++
  charOfByte.push(String.fromCharCode(code))
  byteOfCharCode[code] = byte
}

const utf8 = new TextEncoder()

/** The UTF-8 bytes of a text, written in the byte alphabet. */
export function toByteAlphabet(text: string): string {
  let written = ''
  for (const byte of utf8.encode(text)) written += charOfByte[byte]
  return written
}

/** The bytes of a string in the byte alphabet; a string with a character outside it stands for itself. */
export function fromByteAlphabet(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) {
    const byte = byteOfCharCode[text.charCodeAt(i)] ?? -1
    if (byte < 0) return utf8.encode(text)
    bytes[i] = byte
  }
  return bytes
}
