import type { CodePointRange } from '../utf8.js'

/** A regular expression over characters. */
export type Regex =
  | { readonly kind: 'set'; readonly ranges: readonly CodePointRange[] }
  | { readonly kind: 'sequence'; readonly parts: readonly Regex[] }
  | { readonly kind: 'choice'; readonly options: readonly Regex[] }
  | { readonly kind: 'repeat'; readonly body: Regex; readonly min: number; readonly max: number }
  | { readonly kind: 'anchor'; readonly at: 'start' | 'end'; readonly offset: number }

/** Reads a text character by character; every message names the offset. */
export class Scanner {
  readonly place: string
  readonly #chars: readonly string[]
  index = 0

  constructor(place: string, text: string) {
    this.place = place
    this.#chars = [...text]
  }

  get isAtEnd(): boolean {
    return this.index >= this.#chars.length
  }

  peek(ahead = 0): string {
    return this.#chars[this.index + ahead] ?? ''
  }

  next(): string {
    return this.#chars[this.index++] ?? ''
  }

  /** Takes some text where it comes next. */
  take(text: string): boolean {
    if (!this.looksAt(text)) return false
    this.index += [...text].length
    return true
  }

  looksAt(text: string): boolean {
    return [...text].every((char, i) => this.peek(i) === char)
  }

  /** Takes characters for as long as they match. */
  takeWhile(pattern: RegExp, most = Infinity): string {
    let taken = ''
    while (taken.length < most && !this.isAtEnd && pattern.test(this.peek())) taken += this.next()
    return taken
  }

  /** The place of an offset, by default of the next character. */
  at(offset = this.index): string {
    return `${this.place}, offset ${offset}`
  }

  get found(): string {
    return this.isAtEnd ? 'its end' : JSON.stringify(this.peek())
  }
}
