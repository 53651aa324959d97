import { dead, type Machine, unknown } from './automaton/machine.js'
import { type FlatTrie, partOf, type TokenTrie } from './token-trie.js'

/** Sets the bit of every token of a trie that a machine takes from a configuration on. */
export function walk(trie: FlatTrie, machine: Machine, start: number, words: Int32Array): void {
  const { numNodes, byte, depth, end, groups, firstToken, tokens } = trie
  const { classOf, numClasses } = machine
  let table = machine.table
  const ids = new Int32Array(trie.maxDepth + 1)
  ids[0] = start
  for (let node = 0; node < numNodes; ) {
    const at = depth[node]!
    const current = ids[at]!
    const byteClass = classOf[byte[node]!]!
    let next = table[current * numClasses + byteClass]!
    if (next === unknown) {
      next = machine.transition(current, byteClass)
      table = machine.table
    }
    if (next === dead) {
      node = end[node]!
      continue
    }
    ids[at + 1] = next
    const staysBelow = next === current && (groups[node]! & ~machine.stableGroups(current)) === 0
    const after = staysBelow ? end[node]! : node + 1
    const last = firstToken[after]!
    for (let t = firstToken[node]!; t < last; t++) words[tokens[t]! >> 5]! |= 1 << (tokens[t]! & 31)
    node = after
  }
}

/** What tokens do from a configuration on, whatever is below its stack. */
export interface LocalView {
  /** Tokens that it takes without looking below, as bits. */
  readonly words: Int32Array
  /** In a loop, the same tokens by the rounds that they need. */
  readonly tokensByRounds: readonly Int32Array[]
  /** Tokens that come to its end before they end: what is below must decide. */
  readonly dependents: FlatTrie
}

/** Beyond this part of the vocabulary, asking what is below for each token does not pay. */
const maxDependentPart = 1 / 4

/**
 * Walks a trie once and sorts the tokens: those that the configuration takes alone, and those that leave it.
 *
 * @param head the configuration in which a round of the loop is done and another may begin, or -1
 * @returns null where too many tokens leave it
 */
export function classify(trie: TokenTrie, machine: Machine, start: number, head: number): LocalView | null {
  const { numNodes, byte, depth, end, groups, firstToken, tokens, tokenLength } = trie
  const ids = new Int32Array(trie.maxDepth + 1)
  const rounds = new Int32Array(trie.maxDepth + 1)
  const escaped = new Uint8Array(trie.maxDepth + 1)
  ids[0] = start
  escaped[0] = machine.accepting[start]!
  const words = new Int32Array((trie.size + 31) >> 5)
  const needed = new Int16Array(tokens.length).fill(-1)
  const leaving: number[] = []
  let numDependents = 0
  for (let node = 0; node < numNodes; ) {
    const at = depth[node]!
    const current = ids[at]!
    const next = machine.next(current, byte[node]!)
    if (next === dead) {
      if (escaped[at] === 1) {
        leaving.push(node)
        numDependents += firstToken[end[node]!]! - firstToken[node]!
      }
      node = end[node]!
      continue
    }
    ids[at + 1] = next
    rounds[at + 1] = rounds[at]! + (next === head ? 1 : 0)
    escaped[at + 1] = escaped[at]! | machine.accepting[next]!
    const staysBelow = next === current && (groups[node]! & ~machine.stableGroups(current)) === 0
    const after = staysBelow ? end[node]! : node + 1
    const begun = rounds[at + 1]! + (next === head ? 0 : 1)
    const perByte = staysBelow && next === head ? 1 : 0
    for (let t = firstToken[node]!; t < firstToken[after]!; t++) {
      words[tokens[t]! >> 5]! |= 1 << (tokens[t]! & 31)
      needed[t] = begun + perByte * (tokenLength[t]! - at - 1)
    }
    node = after
  }
  if (numDependents > tokens.length * maxDependentPart) return null
  const tokensByRounds = head < 0 ? [] : byRounds(tokens, needed)
  return { words, tokensByRounds, dependents: partOf(trie, leaving) }
}

function byRounds(tokens: Int32Array, needed: Int16Array): Int32Array[] {
  const lists: number[][] = []
  for (let t = 0; t < tokens.length; t++) {
    if (needed[t]! < 0) continue
    while (lists.length <= needed[t]!) lists.push([])
    lists[needed[t]!]!.push(tokens[t]!)
  }
  return lists.map((list) => Int32Array.from(list))
}
