import { invalidType, KvasirError } from '../errors.js'
import { type Configuration, dead, type Machine } from './automaton/machine.js'
import { unsatisfiable } from './budget.js'
import type { MaskMaker } from './mask-maker.js'
import type { TokenTrie } from './token-trie.js'

/** What all sequences under one constraint share. */
export interface MatcherParts {
  machine: Machine
  masks: MaskMaker
  trie: TokenTrie
}

/** Bytes that are known ahead at once. */
const maxForcedBytes = 4096

/** Follows one sequence of tokens through a constraint. */
export class ConstraintMatcher {
  readonly #parts: MatcherParts
  #at: Configuration

  constructor(parts: MatcherParts, at: Configuration) {
    this.#parts = parts
    this.#at = at
  }

  /**
   * Writes which tokens may come next; end tokens are none of its business.
   *
   * @param into (ceil(vocabulary / 32) or more,): bit `id % 32` of word `id / 32` is set where the token may come
   */
  mask(into: Int32Array): void {
    const { masks, trie } = this.#parts
    const least = (trie.size + 31) >> 5
    if (!(into instanceof Int32Array) || into.length < least)
      throw invalidType('ConstraintMatcher.mask: into', `an Int32Array of at least ${least} words`, into)
    const mask = masks.maskOf(this.#refreshed())
    if (mask.isEmpty && !this.#at.isAccepting)
      throw unsatisfiable('constraint', 'no token of the vocabulary can go on from here')
    mask.writeTo(into)
  }

  /** What was generated so far is complete. */
  get mayEnd(): boolean {
    return this.#at.isAccepting
  }

  /** What was generated so far is complete, and nothing can follow. */
  get mustEnd(): boolean {
    return this.#at.isAccepting && this.#at.states.length === 0
  }

  /** Takes the next token. @throws KvasirError `ERR_INTERNAL` where the mask does not allow it */
  advance(id: number): void {
    const { machine, trie } = this.#parts
    const bytes = trie.bytesOf(id)
    let at = this.#refreshed().id
    for (const byte of bytes ?? []) if (at !== dead) at = machine.next(at, byte)
    if (bytes === null || at === dead)
      throw new KvasirError(
        'ERR_INTERNAL',
        `ConstraintMatcher.advance: id must be one that the mask allows, got ${id}`,
      )
    this.#at = machine.configuration(at)
  }

  /**
   * The tokens that must follow whatever the model says, possibly none. The last token of what is known is left
   * to the model where something can follow it, since the two might be one token together.
   *
   * @param encode the tokenizer's own way of writing a text in the midst of another; without it the longest
   *   tokens are taken
   */
  forcedTokens(encode?: (bytes: Uint8Array) => readonly number[]): number[] {
    const { bytes, endsThere } = this.#forcedBytes()
    if (bytes.length === 0) return []
    const encoded = encode?.(wholeCharacters(bytes)) ?? []
    const byTokenizer = this.#spelling(bytes, encoded)
    const ids = byTokenizer.length > 0 ? byTokenizer : this.#longestTokens(bytes)
    const length = ids.reduce((sum, id) => sum + this.#parts.trie.bytesOf(id)!.length, 0)
    return endsThere && length === bytes.length ? ids : ids.slice(0, -1)
  }

  /** A matcher in the same place that goes its own way. */
  clone(): ConstraintMatcher {
    return new ConstraintMatcher(this.#parts, this.#at)
  }

  #refreshed(): Configuration {
    this.#at = this.#parts.machine.refresh(this.#at)
    return this.#at
  }

  #forcedBytes(): { bytes: Uint8Array; endsThere: boolean } {
    const { machine } = this.#parts
    const bytes: number[] = []
    let at = this.#refreshed()
    while (bytes.length < maxForcedBytes) {
      const byte = machine.onlyByte(at)
      if (byte < 0) break
      bytes.push(byte)
      at = machine.configuration(machine.next(at.id, byte))
    }
    return { bytes: Uint8Array.from(bytes), endsThere: at.isAccepting && at.states.length === 0 }
  }

  /** Those of a tokenizer's tokens that spell the beginning of some bytes. */
  #spelling(bytes: Uint8Array, ids: readonly number[]): number[] {
    let length = 0
    const wrong = ids.findIndex((id) => {
      const token = this.#parts.trie.bytesOf(id)
      if (token === null || Buffer.compare(token, bytes.subarray(length, length + token.length)) !== 0)
        return true
      length += token.length
      return false
    })
    return wrong < 0 ? [...ids] : ids.slice(0, wrong)
  }

  #longestTokens(bytes: Uint8Array): number[] {
    const { trie } = this.#parts
    const ids: number[] = []
    for (let at = 0; at < bytes.length; ) {
      const id = trie.longestPrefix(bytes.subarray(at))
      if (id < 0) break
      ids.push(id)
      at += trie.bytesOf(id)!.length
    }
    return ids
  }
}

/** Some bytes without a character that is incomplete at their end. */
function wholeCharacters(bytes: Uint8Array): Uint8Array {
  let lead = bytes.length - 1
  while (lead >= 0 && (bytes[lead]! & 0xc0) === 0x80) lead--
  if (lead < 0 || bytes[lead]! < 0xc0) return bytes
  const length = bytes[lead]! < 0xe0 ? 2 : bytes[lead]! < 0xf0 ? 3 : 4
  return lead + length > bytes.length ? bytes.subarray(0, lead) : bytes
}
