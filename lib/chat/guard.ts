/**
 * Keeps what people write from posing as the structure of a prompt: within it, a mark is put into every special token's
 * text, so that the tokenizer, which takes marks out after it has looked for special tokens, does not see one.
 */
export class Guard {
  /** A character that is in none of the texts. */
  readonly mark: string
  readonly #special: readonly string[]

  /** @param texts everything that will be rendered: the mark is in none of it */
  constructor(special: readonly string[], texts: readonly string[]) {
    this.#special = special.filter((text) => text !== '')
    this.mark = unusedCharacter(texts)
  }

  /** The same value, with marks in its texts, keys included. */
  value<T>(value: T): T {
    if (typeof value === 'string') return this.#text(value) as T
    if (Array.isArray(value)) return value.map((one) => this.value(one)) as T
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([key, one]) => [this.#text(key), this.value(one)]),
    ) as T
  }

  #text(text: string): string {
    let marked = text
    for (const special of this.#special) {
      if (!marked.includes(special)) continue
      marked = marked.split(special).join(special.slice(0, 1) + this.mark + special.slice(1))
    }
    return marked
  }
}

const firstPrivate = 0xe000
const lastPrivate = 0xf8ff

function unusedCharacter(texts: readonly string[]): string {
  const used = new Set<number>()
  for (const text of texts) {
    for (const [character] of text.matchAll(/[\ue000-\uf8ff]/g)) used.add(character.charCodeAt(0))
  }
  for (let code = lastPrivate; code >= firstPrivate; code--)
    if (!used.has(code)) return String.fromCharCode(code)
  throw new RangeError('chat: messages use every private character')
}
