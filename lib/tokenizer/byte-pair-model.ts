import { BytePairEncoder, type BytePairRules } from './byte-pair-encoder.js'
import { fieldError, type JsonObject } from './json-object.js'
import { maxTokenId, type Vocabulary } from './vocabulary.js'

/** @throws CheckpointError `ERR_UNSUPPORTED` where a `model` is of another type */
export function requireBytePairModel(json: JsonObject): void {
  // Files from before 2021 name no type; only this one has merges.
  json.choice('type', ['BPE'], json.get('merges') === undefined ? undefined : 'BPE')
}

/**
 * Reads the `model` of a `tokenizer.json`. Special tokens take no part in it: whatever the merges say,
 * text never becomes one.
 */
export function readBytePairModel(json: JsonObject, vocabulary: Vocabulary): BytePairEncoder {
  refuseAffix(json, 'continuing_subword_prefix')
  refuseAffix(json, 'end_of_word_suffix')
  const ids = new Map<string, number>()
  for (const [content, id] of vocabulary.modelIds) if (!vocabulary.isSpecial(id)) ids.set(content, id)
  return new BytePairEncoder({
    ids,
    merges: readMerges(json, vocabulary),
    byteIds: json.boolean('byte_fallback', false) ? byteIdsOf(ids) : null,
    unknownId: readUnknownId(json, vocabulary),
    fusesUnknown: json.boolean('fuse_unk', false),
    prefersWholeWords: json.boolean('ignore_merges', false),
  })
}

function refuseAffix(json: JsonObject, name: string): void {
  if ((json.optionalString(name) ?? '') !== '') throw json.error(name, 'empty', 'ERR_UNSUPPORTED')
}

function readUnknownId(json: JsonObject, vocabulary: Vocabulary): number | null {
  const content = json.optionalString('unk_token')
  if (content === null) return null
  const id = vocabulary.idOf(content)
  if (id === undefined) throw json.error('unk_token', 'a token of the vocabulary')
  return id
}

/** The ids of the tokens "<0x00>" to "<0xFF>". */
function byteIdsOf(ids: ReadonlyMap<string, number>): (number | undefined)[] {
  return Array.from({ length: 256 }, (_, byte) =>
    ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  )
}

function readMerges(json: JsonObject, vocabulary: Vocabulary): BytePairRules['merges'] {
  const merges = json.array('merges')
  if (merges.length > maxTokenId) throw json.error('merges', `at most ${maxTokenId} merges`)
  return merges
    .map((merge, rank) => readMerge(merge, `${json.field('merges')}[${rank}]`, json.file, vocabulary))
    .filter(({ merged }) => !vocabulary.isSpecial(merged))
}

/** A merge is `["a", "b"]`, or "a b" in files from before 2024. */
function readMerge(merge: unknown, field: string, file: string, vocabulary: Vocabulary) {
  const pair = typeof merge === 'string' ? merge.split(' ') : merge
  if (!isPair(pair)) throw fieldError(file, field, 'two tokens', merge)
  const idOf = (content: string) => {
    const id = vocabulary.modelIds.get(content)
    if (id === undefined) throw fieldError(file, field, 'made of tokens of model.vocab', content)
    return id
  }
  return { left: idOf(pair[0]), right: idOf(pair[1]), merged: idOf(pair[0] + pair[1]) }
}

function isPair(value: unknown): value is [string, string] {
  return Array.isArray(value) && value.length === 2 && value.every((part) => typeof part === 'string')
}
