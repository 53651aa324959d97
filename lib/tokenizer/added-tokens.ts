import type { JsonObject } from './json-object.js'
import { trailingSpace } from './normalizer.js'
import { wordClass } from './pattern.js'

/** A token that is found in the text itself, before the model sees it (field names of the file format). */
export interface AddedToken {
  id: number
  content: string
  /** Matches only where no word character is next to it. */
  singleWord: boolean
  /** Takes the white space before it along. */
  lstrip: boolean
  /** Takes the white space after it along. */
  rstrip: boolean
  /** Is looked for in the normalized text instead of the text itself. */
  normalized: boolean
  /** Stands for no text: `<s>`, `<|endoftext|>`. */
  special: boolean
}

/** A stretch of text, or a token that was found. */
export type Section = string | AddedToken

/** Bounds the work at one position of a text. Real ones have up to 64 characters. */
const maxContentLength = 1024

const startsWithWord = new RegExp(`^[${wordClass}]`, 'u')
const endsWithWord = new RegExp(`[${wordClass}]$`, 'u')

export function readAddedToken(json: JsonObject, maxId: number): AddedToken {
  const content = json.string('content')
  if (content === '' || content.length > maxContentLength) {
    throw json.error('content', `a string of 1 to ${maxContentLength} characters`)
  }
  const special = json.boolean('special', false)
  return {
    id: json.integer('id', 0, maxId),
    content,
    singleWord: json.boolean('single_word', false),
    lstrip: json.boolean('lstrip', false),
    rstrip: json.boolean('rstrip', false),
    normalized: json.boolean('normalized', !special),
    special,
  }
}

interface TrieNode {
  token: AddedToken | null
  children: Map<number, TrieNode>
}

/** Finds added tokens in a text: the leftmost first, and of several there the longest. */
export class AddedTokenSplitter {
  readonly #root: TrieNode = { token: null, children: new Map() }

  /** @param contentOf the text by which a token is found; where it is empty, the token never is */
  constructor(tokens: AddedToken[], contentOf: (token: AddedToken) => string) {
    for (const token of tokens) this.#add(contentOf(token), token)
  }

  #add(content: string, token: AddedToken): void {
    let node = this.#root
    for (let i = 0; i < content.length; i++) {
      const code = content.charCodeAt(i)
      let child = node.children.get(code)
      if (child === undefined) {
        child = { token: null, children: new Map() }
        node.children.set(code, child)
      }
      node = child
    }
    if (node !== this.#root) node.token = token
  }

  /** Takes a text apart; without `special`, the content of a special token is text like any other. */
  split(text: string, special: boolean): Section[] {
    if (this.#root.children.size === 0) return text === '' ? [] : [text]
    const sections: Section[] = []
    let sectionStart = 0
    for (let i = 0; i < text.length; ) {
      const match = this.#longestAt(text, i)
      const end = match === null ? i + 1 : match.end
      if (match !== null && accepts(match.token, text, i, end, special)) {
        const start = match.token.lstrip ? i - trailingSpace(text.slice(sectionStart, i)) : i
        if (start > sectionStart) sections.push(text.slice(sectionStart, start))
        sections.push(match.token)
        sectionStart = match.token.rstrip ? skipSpace(text, end) : end
      }
      // Space that a token took along may still begin the next token, as in the reference implementation.
      i = end
    }
    if (sectionStart < text.length) sections.push(text.slice(sectionStart))
    return sections
  }

  #longestAt(text: string, start: number): { token: AddedToken; end: number } | null {
    let longest: { token: AddedToken; end: number } | null = null
    let node = this.#root.children.get(text.charCodeAt(start))
    for (let end = start + 1; node !== undefined; end++) {
      if (node.token !== null) longest = { token: node.token, end }
      node = end < text.length ? node.children.get(text.charCodeAt(end)) : undefined
    }
    return longest
  }
}

function accepts(token: AddedToken, text: string, start: number, end: number, special: boolean): boolean {
  if (token.special && !special) return false
  if (!token.singleWord) return true
  // Two code units hold the neighbouring character, whichever plane it is in.
  const before = text.slice(Math.max(0, start - 2), start)
  return !endsWithWord.test(before) && !startsWithWord.test(text.slice(end, end + 2))
}

function skipSpace(text: string, start: number): number {
  let end = start
  while (end < text.length && /\p{White_Space}/u.test(text[end]!)) end++
  return end
}
