import { toByteAlphabet } from './byte-alphabet.js'
import type { JsonObject } from './json-object.js'
import { readPattern, replaceMatches } from './pattern.js'
import { stepsOf } from './pipeline.js'

/** Text to text, before anything is split. */
export type Normalizer = (text: string) => string

const readers: Record<string, (json: JsonObject) => Normalizer> = {
  NFC: () => (text) => text.normalize('NFC'),
  NFD: () => (text) => text.normalize('NFD'),
  NFKC: () => (text) => text.normalize('NFKC'),
  NFKD: () => (text) => text.normalize('NFKD'),
  // Character by character as the file format has it: no final sigma.
  Lowercase: () => (text) => text.replace(/\P{Lowercase}/gu, (char) => char.toLowerCase()),
  StripAccents: () => (text) => text.replace(/\p{M}/gu, ''),
  ByteLevel: () => toByteAlphabet,
  Strip: readStrip,
  Prepend: readPrepend,
  Replace: readReplace,
}

/** Reads the `normalizer` of a `tokenizer.json`; null is the identity. */
export function readNormalizer(json: JsonObject | null): Normalizer {
  const steps = stepsOf(json, 'normalizers').map((step) => {
    const type = step.choice('type', Object.keys(readers))
    return readers[type]!(step)
  })
  return (text) => steps.reduce((normalized, step) => step(normalized), text)
}

function readStrip(json: JsonObject): Normalizer {
  const left = json.boolean('strip_left', false)
  const right = json.boolean('strip_right', false)
  return (text) => {
    const start = left ? text.search(/\P{White_Space}/u) : 0
    if (start < 0) return ''
    return text.slice(start, right ? text.length - trailingSpace(text) : text.length)
  }
}

/** Length of the white space at the end of a text; a regular expression would take quadratic time. */
export function trailingSpace(text: string): number {
  let end = text.length
  while (end > 0 && /\p{White_Space}/u.test(text[end - 1]!)) end--
  return text.length - end
}

function readPrepend(json: JsonObject): Normalizer {
  const prefix = json.string('prepend')
  return (text) => (text === '' ? text : prefix + text)
}

function readReplace(json: JsonObject): Normalizer {
  const pattern = readPattern(json, 'pattern')
  const content = json.string('content')
  return (text) => replaceMatches(text, pattern, content)
}
