import { fieldError, type JsonObject } from './json-object.js'
import { stepsOf } from './pipeline.js'
import type { TokenizerConfig } from './tokenizer-config.js'
import type { Vocabulary } from './vocabulary.js'

/** The ids that go before and after those of a text. */
export interface Affixes {
  before: number[]
  after: number[]
}

const readers: Record<string, (json: JsonObject, vocabulary: Vocabulary) => Affixes> = {
  ByteLevel: () => ({ before: [], after: [] }),
  TemplateProcessing: readTemplate,
  BertProcessing: readClassifierPair,
  RobertaProcessing: readClassifierPair,
}

/**
 * Reads the `post_processor` of a `tokenizer.json`. Where `tokenizer_config.json` has `add_bos_token` or
 * `add_eos_token`, that decides about the token in question.
 */
export function readAffixes(
  json: JsonObject | null,
  config: TokenizerConfig,
  vocabulary: Vocabulary,
): Affixes {
  const before: number[] = []
  const after: number[] = []
  for (const step of stepsOf(json, 'processors')) {
    const type = step.choice('type', Object.keys(readers))
    const affixes = readers[type]!(step, vocabulary)
    before.unshift(...affixes.before)
    after.push(...affixes.after)
  }
  if (config.bosId !== null && config.addsBos !== null) {
    if (before[0] === config.bosId) before.shift()
    if (config.addsBos) before.unshift(config.bosId)
  }
  if (config.eosId !== null && config.addsEos !== null) {
    if (after.at(-1) === config.eosId) after.pop()
    if (config.addsEos) after.push(config.eosId)
  }
  return { before, after }
}

/** A list of special tokens with one sequence, "A", among them. */
function readTemplate(json: JsonObject, vocabulary: Vocabulary): Affixes {
  const before: number[] = []
  const after: number[] = []
  let numSequences = 0
  for (const item of json.objects('single')) {
    const sequence = item.optionalObject('Sequence')
    if (sequence === null) {
      const ids = templateIds(json, item.object('SpecialToken').string('id'), vocabulary)
      const affix = numSequences === 0 ? before : after
      affix.push(...ids)
    } else {
      sequence.choice('id', ['A'])
      numSequences++
    }
  }
  if (numSequences !== 1 || before.length + after.length > maxAffixLength) {
    throw json.error('single', `one sequence and at most ${maxAffixLength} special tokens`)
  }
  return { before, after }
}

const maxAffixLength = 64

function templateIds(json: JsonObject, name: string, vocabulary: Vocabulary): number[] {
  const token = json.object('special_tokens').object(name)
  const ids = token.array('ids')
  if (ids.length > maxAffixLength) throw token.error('ids', `at most ${maxAffixLength} ids`)
  return ids.map((id, index) => checkedId(id, `${token.field('ids')}[${index}]`, json.file, vocabulary))
}

/** `cls` before and `sep` after the text, each a pair of content and id. */
function readClassifierPair(json: JsonObject, vocabulary: Vocabulary): Affixes {
  const idOf = (name: string) =>
    checkedId(json.array(name)[1], `${json.field(name)}[1]`, json.file, vocabulary)
  return { before: [idOf('cls')], after: [idOf('sep')] }
}

function checkedId(id: unknown, field: string, file: string, vocabulary: Vocabulary): number {
  if (typeof id !== 'number' || vocabulary.contentOf(id) === undefined) {
    throw fieldError(file, field, 'the id of a token', id)
  }
  return id
}
