import { toByteAlphabet } from './byte-alphabet.js'
import type { JsonObject } from './json-object.js'
import { literalPattern, readPattern, translate, wordClass } from './pattern.js'
import { stepsOf } from './pipeline.js'
import { type SplitRule, splitBehaviors, splitText } from './splitting.js'

/**
 * Splits a normalized text into the words that the model encodes one by one. `atStart` tells that the
 * text begins where the whole input begins.
 */
export type PreTokenizer = (text: string, atStart: boolean) => string[]

/** Radford et al. 2019, `encoder.py` of GPT-2. */
const byteLevelPattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

const readers: Record<string, (json: JsonObject) => PreTokenizer> = {
  ByteLevel: readByteLevel,
  Digits: readDigits,
  Metaspace: readMetaspace,
  Punctuation: readPunctuation,
  Split: readSplit,
  Whitespace: () =>
    splitter({
      pattern: new RegExp(`[${wordClass}]+|[^${wordClass}\\p{White_Space}]+`, 'gu'),
      behavior: 'Removed',
      invert: true,
    }),
  WhitespaceSplit: () => splitter({ pattern: /\p{White_Space}/gu, behavior: 'Removed' }),
}

/** Reads the `pre_tokenizer` of a `tokenizer.json`; null leaves a text whole. */
export function readPreTokenizer(json: JsonObject | null): PreTokenizer {
  const steps = stepsOf(json, 'pretokenizers').map((step) => {
    const type = step.choice('type', Object.keys(readers))
    return readers[type]!(step)
  })
  return (text, atStart) =>
    steps.reduce((pieces, step) => splitPieces(pieces, step, atStart), text === '' ? [] : [text])
}

function splitPieces(pieces: string[], step: PreTokenizer, atStart: boolean): string[] {
  const split: string[] = []
  for (let i = 0; i < pieces.length; i++) {
    for (const piece of step(pieces[i]!, atStart && i === 0)) split.push(piece)
  }
  return split
}

function splitter(rule: SplitRule): PreTokenizer {
  return (text) => splitText(text, rule)
}

function readSplit(json: JsonObject): PreTokenizer {
  return splitter({
    pattern: readPattern(json, 'pattern'),
    behavior: json.choice('behavior', splitBehaviors),
    invert: json.boolean('invert', false),
  })
}

function readDigits(json: JsonObject): PreTokenizer {
  const behavior = json.boolean('individual_digits', false) ? 'Isolated' : 'Contiguous'
  return splitter({ pattern: /\p{N}/gu, behavior })
}

function readPunctuation(json: JsonObject): PreTokenizer {
  const behavior = json.choice('behavior', splitBehaviors, 'Isolated')
  return splitter({ pattern: /[\p{P}$+<=>^`|~]/gu, behavior })
}

function readByteLevel(json: JsonObject): PreTokenizer {
  const addPrefixSpace = json.boolean('add_prefix_space', false)
  const usesPattern = json.boolean('use_regex', true)
  const pattern = usesPattern ? translate(byteLevelPattern, json.file, json.path) : null
  return (text) => {
    const prefixed = addPrefixSpace && !text.startsWith(' ') ? ` ${text}` : text
    return splitText(prefixed, { pattern, behavior: 'Isolated' }).map(toByteAlphabet)
  }
}

function readMetaspace(json: JsonObject): PreTokenizer {
  const replacement = json.character('replacement')
  const fallback = json.boolean('add_prefix_space', true) ? 'always' : 'never'
  const scheme = json.choice('prepend_scheme', ['always', 'first', 'never'], fallback)
  const pattern = json.boolean('split', true) ? literalPattern(replacement) : null
  return (text, atStart) => {
    const replaced = text.replaceAll(' ', () => replacement)
    const prepends = scheme === 'always' || (scheme === 'first' && atStart)
    const prefixed = prepends && !replaced.startsWith(replacement) ? replacement + replaced : replaced
    return splitText(prefixed, { pattern, behavior: 'MergedWithNext' })
  }
}
