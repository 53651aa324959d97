import type { Dfa } from './automaton/dfa.js'
import type { ByteSet } from './byte-set.js'

/**
 * A language over bytes, as every constraint is written before it becomes an automaton: a context-free
 * grammar with byte classes, counted repetition and finite automata.
 */
export type Grammar =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'bytes'; readonly set: ByteSet }
  | { readonly kind: 'literal'; readonly bytes: Uint8Array }
  | { readonly kind: 'sequence'; readonly parts: readonly Grammar[] }
  | { readonly kind: 'choice'; readonly options: readonly Grammar[] }
  | Repeat
  | { readonly kind: 'rule'; readonly rule: Rule }
  | { readonly kind: 'automaton'; readonly dfa: Dfa }

export interface Repeat {
  readonly kind: 'repeat'
  readonly body: Grammar
  readonly min: number
  /** May be Infinity. */
  readonly max: number
  /** The body is never empty and its end is known after a byte more: it may be counted whatever it holds. */
  readonly isDelimited: boolean
}

/** A named part, which may contain itself. */
export class Rule {
  /** Where it is written, in the words of an error message. */
  place: string
  body: Grammar

  constructor(place: string, body: Grammar = nothing) {
    this.place = place
    this.body = body
  }
}

/** The empty language. */
export const nothing: Grammar = { kind: 'nothing' }
/** The language of the empty string. */
export const empty: Grammar = { kind: 'sequence', parts: [] }

const utf8 = new TextEncoder()

export function bytes(set: ByteSet): Grammar {
  return set.isEmpty ? nothing : { kind: 'bytes', set }
}

export function literal(text: string | Uint8Array): Grammar {
  return { kind: 'literal', bytes: typeof text === 'string' ? utf8.encode(text) : text }
}

export function sequence(...parts: Grammar[]): Grammar {
  if (parts.includes(nothing)) return nothing
  return parts.length === 1 ? parts[0]! : { kind: 'sequence', parts }
}

export function choice(...options: Grammar[]): Grammar {
  const possible = options.filter((option) => option !== nothing)
  if (possible.length === 0) return nothing
  return possible.length === 1 ? possible[0]! : { kind: 'choice', options: possible }
}

export function optional(body: Grammar): Grammar {
  return choice(body, empty)
}

export function repeat(body: Grammar, min: number, max: number, { isDelimited = false } = {}): Grammar {
  if (min > max) return nothing
  if (body === nothing || max === 0) return min === 0 ? empty : nothing
  if (min === 1 && max === 1) return body
  return { kind: 'repeat', body, min, max, isDelimited }
}

export function call(rule: Rule): Grammar {
  return { kind: 'rule', rule }
}

/** Any of some strings; common beginnings are shared, so that a thousand are as quick as one. */
export function anyOf(strings: Iterable<Uint8Array>): Grammar {
  const sorted = [...strings].sort(compareBytes)
  return sorted.length === 0 ? nothing : anyOfSorted(sorted, 0, sorted.length, 0)
}

export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b)
}

/** What follows the first `depth` bytes, which `sorted[first]` to `sorted[end - 1]` have in common. */
function anyOfSorted(sorted: Uint8Array[], first: number, end: number, depth: number): Grammar {
  const common = commonLength(sorted[first]!, sorted[end - 1]!, depth)
  const options: Grammar[] = []
  let i = first
  while (i < end && sorted[i]!.length === common) i++
  if (i > first) options.push(empty)
  while (i < end) {
    const byte = sorted[i]![common]
    let next = i + 1
    while (next < end && sorted[next]![common] === byte) next++
    options.push(next === i + 1 ? literal(sorted[i]!.subarray(common)) : anyOfSorted(sorted, i, next, common))
    i = next
  }
  const rest = choice(...options)
  return common === depth ? rest : sequence(literal(sorted[first]!.subarray(depth, common)), rest)
}

function commonLength(a: Uint8Array, b: Uint8Array, from: number): number {
  let length = from
  while (length < a.length && length < b.length && a[length] === b[length]) length++
  return length
}
