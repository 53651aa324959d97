import { type AddedToken, readAddedToken } from './added-tokens.js'
import { fieldError, isInteger, isWellFormed, type JsonObject } from './json-object.js'

/** Largest token id; two of them fit one exact double. The largest real vocabularies have 2^18 tokens. */
export const maxTokenId = 2 ** 24 - 1

/** The tokens of a model: ids and contents, those of the added tokens included. */
export class Vocabulary {
  /** The model's own tokens: what text is made of, before added tokens. */
  readonly modelIds: ReadonlyMap<string, number>
  readonly addedTokens: readonly AddedToken[]
  /** One more than the largest id. */
  readonly size: number
  readonly #contents: (string | undefined)[] = []
  readonly #addedIds = new Map<string, number>()
  readonly #specialIds = new Set<number>()

  constructor(modelIds: ReadonlyMap<string, number>, addedTokens: readonly AddedToken[]) {
    this.modelIds = modelIds
    this.addedTokens = addedTokens
    for (const [content, id] of modelIds) this.#contents[id] = content
    for (const { content, id, special } of addedTokens) {
      this.#contents[id] = content
      this.#addedIds.set(content, id)
      if (special) this.#specialIds.add(id)
    }
    this.size = this.#contents.length
  }

  /** What an id stands for; undefined where the file leaves a gap. */
  contentOf(id: number): string | undefined {
    return this.#contents[id]
  }

  idOf(content: string): number | undefined {
    return this.#addedIds.get(content) ?? this.modelIds.get(content)
  }

  isSpecial(id: number): boolean {
    return this.#specialIds.has(id)
  }

  isAdded(id: number): boolean {
    return this.#addedIds.get(this.#contents[id] ?? '') === id
  }
}

/** Reads `model.vocab` and `added_tokens` of a `tokenizer.json`. */
export function readVocabulary(root: JsonObject): Vocabulary {
  const modelIds = readModelIds(root.object('model').object('vocab'))
  const jsons = root.get('added_tokens') === undefined ? [] : root.objects('added_tokens')
  const addedTokens: AddedToken[] = []
  const seenIds = new Set<number>()
  const seenContents = new Set<string>()
  for (const json of jsons) {
    const token = readAddedToken(json, maxTokenId)
    const modelId = modelIds.get(token.content)
    if (modelId !== undefined && modelId !== token.id) throw json.error('id', `${modelId}, as in model.vocab`)
    if (seenIds.has(token.id)) throw json.error('id', 'an id that no other added token has')
    if (seenContents.has(token.content)) throw json.error('content', 'the content of no other added token')
    seenIds.add(token.id)
    seenContents.add(token.content)
    addedTokens.push(token)
  }
  const vocabulary = new Vocabulary(modelIds, addedTokens)
  if (vocabulary.size === 0) throw root.error('model.vocab', 'at least one token')
  return vocabulary
}

function readModelIds(json: JsonObject): Map<string, number> {
  const ids = new Map<string, number>()
  const seen = new Set<number>()
  for (const [content, id] of json.entries()) {
    const field = () => `${json.path}[${JSON.stringify(content.slice(0, 80))}]`
    if (!isInteger(id, 0, maxTokenId)) {
      throw fieldError(json.file, field(), `an integer from 0 to ${maxTokenId}`, id)
    }
    if (seen.has(id)) throw fieldError(json.file, field(), 'an id that no other token has', id)
    if (!isWellFormed(content)) throw fieldError(json.file, field(), 'well-formed Unicode', content)
    seen.add(id)
    ids.set(content, id)
  }
  return ids
}
