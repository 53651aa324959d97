import { malformed, maxDepth, overBudget } from './budget.js'
import { call, choice, type Grammar, literal, Rule, repeat, sequence } from './grammar.js'
import { readSet } from './regex/character-classes.js'
import { Scanner } from './regex/syntax.js'
import { asUtf8 } from './regex/to-grammar.js'
import { anyCharacter } from './utf8.js'

/**
 * Reads a grammar in EBNF and returns its first rule:
 *
 *     list   ::= "[" (item ("," item)*)? "]"   # a comment
 *     item   ::= [0-9]{1,3} | 'text' | list
 *
 * Literals have the escapes of JSON strings and `\xHH`, classes those of regular expressions; "." is any character.
 * A rule ends where the next one begins.
 */
export function parseGrammar(place: string, source: string): Rule {
  return new GrammarReader(new Scanner(place, source)).read()
}

class GrammarReader {
  readonly #scanner: Scanner
  readonly #rules = new Map<string, Rule>()
  readonly #defined = new Set<string>()
  /** Where each rule is first called. */
  readonly #calls = new Map<string, string>()

  constructor(scanner: Scanner) {
    this.#scanner = scanner
  }

  read(): Rule {
    let first: Rule | null = null
    this.#skipSpace()
    do {
      const rule = this.#readRule()
      first ??= rule
      this.#skipSpace()
    } while (!this.#scanner.isAtEnd)
    for (const [name, at] of this.#calls)
      if (!this.#defined.has(name)) throw malformed(at, 'the name of a rule', JSON.stringify(name))
    return first
  }

  #readRule(): Rule {
    const at = this.#scanner.at()
    const found = this.#scanner.found
    const name = this.#readName()
    this.#skipSpace()
    if (name === '' || !this.#scanner.take('::=')) throw malformed(at, 'a rule: name ::= ...', found)
    if (this.#defined.has(name)) throw malformed(at, 'a rule of another name', JSON.stringify(name))
    this.#defined.add(name)
    const rule = this.#rule(name, at)
    rule.body = this.#readChoice(0)
    return rule
  }

  #rule(name: string, at: string): Rule {
    let rule = this.#rules.get(name)
    if (rule === undefined) {
      rule = new Rule(`${at.split(', offset')[0]}, rule ${name}`)
      this.#rules.set(name, rule)
    }
    return rule
  }

  #readChoice(depth: number): Grammar {
    if (depth > maxDepth) throw overBudget(this.#scanner.at(), `nested at most ${maxDepth} deep`)
    const options: Grammar[] = []
    do options.push(this.#readSequence(depth))
    while (this.#scanner.take('|'))
    return choice(...options)
  }

  #readSequence(depth: number): Grammar {
    const parts: Grammar[] = []
    for (;;) {
      this.#skipSpace()
      if (this.#scanner.isAtEnd || /[|)]/.test(this.#scanner.peek()) || this.#isAtRule()) break
      parts.push(this.#readQuantified(depth))
    }
    return sequence(...parts)
  }

  #readQuantified(depth: number): Grammar {
    let body = this.#readAtom(depth)
    for (;;) {
      if (this.#scanner.take('*')) body = repeat(body, 0, Infinity)
      else if (this.#scanner.take('+')) body = repeat(body, 1, Infinity)
      else if (this.#scanner.take('?')) body = repeat(body, 0, 1)
      else if (this.#scanner.peek() === '{') body = this.#readCounted(body)
      else return body
    }
  }

  #readCounted(body: Grammar): Grammar {
    const at = this.#scanner.at()
    this.#scanner.next()
    const min = this.#scanner.takeWhile(/[0-9]/)
    const max = this.#scanner.take(',') ? this.#scanner.takeWhile(/[0-9]/) || 'Infinity' : min
    if (min === '' || !this.#scanner.take('}') || Number(min) > Number(max))
      throw malformed(at, 'a repetition such as {2,5}', this.#scanner.found)
    return repeat(body, Number(min), Number(max))
  }

  #readAtom(depth: number): Grammar {
    const at = this.#scanner.at()
    const found = this.#scanner.found
    const quote = this.#scanner.peek()
    if (quote === '"' || quote === "'") return literal(this.#readLiteral())
    if (this.#scanner.take('[')) return asUtf8(readSet(this.#scanner))
    if (this.#scanner.take('.')) return asUtf8(anyCharacter)
    if (this.#scanner.take('(')) {
      const body = this.#readChoice(depth + 1)
      if (!this.#scanner.take(')')) throw malformed(at, 'a group that ends with ")"', 'none')
      return body
    }
    const name = this.#readName()
    if (name === '') throw malformed(at, 'a literal, a class, a group or the name of a rule', found)
    if (!this.#calls.has(name)) this.#calls.set(name, at)
    return call(this.#rule(name, at))
  }

  #readLiteral(): string {
    const at = this.#scanner.at()
    const quote = this.#scanner.next()
    let text = ''
    while (!this.#scanner.take(quote)) {
      if (this.#scanner.isAtEnd) throw malformed(at, `a literal that ends with ${quote}`, 'none')
      const char = this.#scanner.next()
      text += char === '\\' ? this.#readEscape() : char
    }
    if (/\p{Surrogate}/u.test(text)) throw malformed(at, 'well-formed Unicode', 'half of a surrogate pair')
    return text
  }

  #readEscape(): string {
    const at = this.#scanner.at(this.#scanner.index - 1)
    const letter = this.#scanner.next()
    const control = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f' }[letter]
    if (control !== undefined) return control
    const length = { x: 2, u: 4 }[letter]
    if (length !== undefined) {
      const hex = this.#scanner.takeWhile(/[0-9A-Fa-f]/, length)
      if (hex.length !== length)
        throw malformed(at, `an escape with ${length} hexadecimal digits`, `${hex.length}`)
      return String.fromCharCode(Number.parseInt(hex, 16))
    }
    if (/["'\\/[\]]/.test(letter)) return letter
    throw malformed(at, 'an escape', JSON.stringify(`\\${letter}`))
  }

  #readName(): string {
    return /[A-Za-z_]/.test(this.#scanner.peek()) ? this.#scanner.takeWhile(/[A-Za-z0-9_-]/) : ''
  }

  /** Whether the next rule begins here. */
  #isAtRule(): boolean {
    const start = this.#scanner.index
    const name = this.#readName()
    if (name !== '') this.#skipSpace()
    const isRule = name !== '' && this.#scanner.looksAt('::=')
    this.#scanner.index = start
    return isRule
  }

  #skipSpace(): void {
    for (;;) {
      this.#scanner.takeWhile(/\s/)
      if (this.#scanner.peek() !== '#') return
      this.#scanner.takeWhile(/[^\n]/)
    }
  }
}
