import { groupOf } from './byte-groups.js'
import { ByteSet } from './byte-set.js'

/** What a constraint needs to know of a vocabulary. */
export interface VocabularyBytes {
  readonly size: number
  /** What a token writes; null for special and control tokens, which no mask allows. */
  bytes(id: number): Uint8Array | null
}

/**
 * A trie in depth-first order: a node's first child follows it, and `end` skips all that is below it. The
 * tokens of a node and of all below it are `tokens[firstToken[node]]` up to `tokens[firstToken[end[node]]]`.
 */
export interface FlatTrie {
  readonly numNodes: number
  /** The last byte of each node. */
  readonly byte: Uint8Array
  /** Bytes before the last one. */
  readonly depth: Uint16Array
  /** The next node that is not below. */
  readonly end: Int32Array
  /** (nodes + 1): where the tokens of a node begin; most have one or none. */
  readonly firstToken: Int32Array
  readonly tokens: Int32Array
  /** Bytes of each of the tokens. */
  readonly tokenLength: Uint16Array
  /** A bit for each group of bytes (byte-groups.ts) that a node or one below it has. */
  readonly groups: Int32Array
  readonly maxDepth: number
}

/** Bytes in a token; longer ones, of which there are none in practice, are never generated. */
const maxTokenBytes = 1024

/** The tokens of a vocabulary by their bytes. */
export class TokenTrie implements FlatTrie {
  /** Ids in the vocabulary. */
  readonly size: number
  readonly numNodes: number
  readonly byte: Uint8Array
  readonly depth: Uint16Array
  readonly end: Int32Array
  readonly firstToken: Int32Array
  readonly tokens: Int32Array
  readonly tokenLength: Uint16Array
  readonly groups: Int32Array
  readonly maxDepth: number
  /** Bytes that a token writes alone. */
  readonly singleBytes: ByteSet
  readonly #bytesOf: (Uint8Array | null)[]

  constructor(vocabulary: VocabularyBytes) {
    this.size = vocabulary.size
    this.#bytesOf = Array.from({ length: vocabulary.size }, (_, id) => {
      const bytes = vocabulary.bytes(id)
      return bytes === null || bytes.length === 0 || bytes.length > maxTokenBytes ? null : bytes
    })
    const flat = flatten(this.#bytesOf)
    this.numNodes = flat.numNodes
    this.byte = flat.byte
    this.depth = flat.depth
    this.end = flat.end
    this.firstToken = flat.firstToken
    this.tokens = flat.tokens
    this.tokenLength = flat.tokenLength
    this.groups = flat.groups
    this.maxDepth = flat.maxDepth
    const singles = this.#bytesOf.flatMap((bytes) => (bytes?.length === 1 ? [bytes[0]!] : []))
    this.singleBytes = ByteSet.of(...new Set(singles))
  }

  /** Null for ids that no mask allows. */
  bytesOf(id: number): Uint8Array | null {
    return this.#bytesOf[id] ?? null
  }

  /** The longest token with which some bytes begin, or -1. */
  longestPrefix(bytes: Uint8Array): number {
    let longest = -1
    let node = 0
    let last = this.numNodes
    for (const byte of bytes) {
      while (node < last && this.byte[node]! < byte) node = this.end[node]!
      if (node >= last || this.byte[node] !== byte) break
      if (this.firstToken[node + 1]! > this.firstToken[node]!) longest = this.tokens[this.firstToken[node]!]!
      last = this.end[node]!
      node++
    }
    return longest
  }
}

function flatten(bytesOf: readonly (Uint8Array | null)[]): FlatTrie {
  // Strings of one byte a character are compared as bytes, and much faster than arrays.
  const keys = bytesOf.map((bytes) => (bytes === null ? '' : Buffer.from(bytes).toString('latin1')))
  const ids = keys.flatMap((key, id) => (key === '' ? [] : [id]))
  ids.sort((a, b) => (keys[a]! < keys[b]! ? -1 : keys[a] === keys[b] ? a - b : 1))
  const building = new TrieBuilder()
  for (const id of ids) building.add(bytesOf[id]!, id)
  return building.finish()
}

/** Builds a flat trie from tokens in the order of their bytes. */
class TrieBuilder {
  readonly #byte: number[] = []
  readonly #depth: number[] = []
  readonly #end: number[] = []
  readonly #firstToken: number[] = []
  readonly #tokens: number[] = []
  readonly #tokenLength: number[] = []
  /** The nodes of the token before, from the first byte on. */
  readonly #path: number[] = []
  #maxDepth = 0

  add(bytes: Uint8Array, id: number): void {
    let shared = 0
    while (
      shared < this.#path.length &&
      shared < bytes.length &&
      this.#byte[this.#path[shared]!] === bytes[shared]
    )
      shared++
    this.#close(shared)
    for (let depth = shared; depth < bytes.length; depth++) {
      this.#path.push(this.#byte.length)
      this.#byte.push(bytes[depth]!)
      this.#depth.push(depth)
      this.#end.push(0)
      this.#firstToken.push(this.#tokens.length)
    }
    this.#maxDepth = Math.max(this.#maxDepth, bytes.length)
    this.#tokens.push(id)
    this.#tokenLength.push(bytes.length)
  }

  finish(): FlatTrie {
    this.#close(0)
    const byte = Uint8Array.from(this.#byte)
    const end = Int32Array.from(this.#end)
    return {
      numNodes: byte.length,
      byte,
      depth: Uint16Array.from(this.#depth),
      end,
      groups: groupsBelow(byte, end),
      tokenLength: Uint16Array.from(this.#tokenLength),
      firstToken: Int32Array.from([...this.#firstToken, this.#tokens.length]),
      tokens: Int32Array.from(this.#tokens),
      maxDepth: this.#maxDepth,
    }
  }

  #close(length: number): void {
    while (this.#path.length > length) this.#end[this.#path.pop()!] = this.#byte.length
  }
}

function groupsBelow(byte: Uint8Array, end: Int32Array): Int32Array {
  const groups = new Int32Array(byte.length)
  for (let node = byte.length - 1; node >= 0; node--) {
    let bits = 1 << groupOf[byte[node]!]!
    for (let child = node + 1; child < end[node]!; child = end[child]!) bits |= groups[child]!
    groups[node] = bits
  }
  return groups
}

/** The part of a trie that holds what is below some nodes, which are in ascending order and not below each other. */
export function partOf(trie: FlatTrie, nodes: readonly number[]): FlatTrie {
  const kept: number[] = []
  let at = 0
  for (const node of nodes) {
    // Down to the node, past what is beside the way.
    while (at < node) {
      if (trie.end[at]! <= node) at = trie.end[at]!
      else kept.push(at++)
    }
    for (; at < trie.end[node]!; at++) kept.push(at)
  }
  return select(trie, kept, new Set(nodes))
}

function select(trie: FlatTrie, kept: number[], whole: Set<number>): FlatTrie {
  const numNodes = kept.length
  const end = new Int32Array(numNodes)
  const firstToken = new Int32Array(numNodes + 1)
  const tokens: number[] = []
  const tokenLength: number[] = []
  const open: number[] = []
  let wholeUntil = 0
  kept.forEach((node, i) => {
    while (open.length > 0 && trie.end[kept[open.at(-1)!]!]! <= node) end[open.pop()!] = i
    open.push(i)
    if (whole.has(node)) wholeUntil = trie.end[node]!
    firstToken[i] = tokens.length
    if (node >= wholeUntil) return // only the way to others: its own tokens are none of the part
    for (let t = trie.firstToken[node]!; t < trie.firstToken[node + 1]!; t++) {
      tokens.push(trie.tokens[t]!)
      tokenLength.push(trie.tokenLength[t]!)
    }
  })
  for (const i of open) end[i] = numNodes
  firstToken[numNodes] = tokens.length
  const byte = Uint8Array.from(kept, (node) => trie.byte[node]!)
  return {
    numNodes,
    byte,
    groups: groupsBelow(byte, end),
    tokenLength: Uint16Array.from(tokenLength),
    depth: Uint16Array.from(kept, (node) => trie.depth[node]!),
    end,
    firstToken,
    tokens: Int32Array.from(tokens),
    maxDepth: trie.maxDepth,
  }
}
