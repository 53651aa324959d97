import type { Budget } from '../budget.js'
import { ByteSet } from '../byte-set.js'
import { type Grammar, Rule } from '../grammar.js'
import { type ByteClasses, byteClasses } from './byte-classes.js'
import { buildNfa, type Nfa } from './nfa.js'

/** No state: nothing follows. */
const dead = -1

/** A deterministic automaton over bytes; state 0 is the first. */
export class Dfa {
  readonly classes: ByteClasses
  readonly accepting: readonly boolean[]
  /** (states, classes): the next state or -1. */
  readonly next: Int32Array

  constructor(classes: ByteClasses, accepting: readonly boolean[], next: Int32Array) {
    this.classes = classes
    this.accepting = accepting
    this.next = next
  }

  get numStates(): number {
    return this.accepting.length
  }

  step(state: number, byte: number): number {
    return state === dead ? dead : this.next[state * this.classes.members.length + this.classes.of[byte]!]!
  }

  accepts(bytes: Uint8Array): boolean {
    const end = bytes.reduce((state, byte) => this.step(state, byte), 0)
    return end !== dead && this.accepting[end]!
  }

  /** The states that follow a state, each with the bytes that lead there. */
  edges(state: number): Map<number, ByteSet> {
    const bytesOf = new Map<number, number[]>()
    this.classes.members.forEach((members, index) => {
      const target = this.next[state * this.classes.members.length + index]!
      if (target !== dead) bytesOf.set(target, [...(bytesOf.get(target) ?? []), ...members])
    })
    return new Map([...bytesOf].map(([target, bytes]) => [target, ByteSet.of(...bytes)]))
  }

  /** Whether each state can still come to an accepting one. */
  live(): boolean[] {
    const numClasses = this.classes.members.length
    const before: number[][] = this.accepting.map(() => [])
    this.next.forEach((target, i) => {
      if (target !== dead) before[target]!.push(Math.floor(i / numClasses))
    })
    const live = [...this.accepting]
    const found = live.flatMap((isLive, state) => (isLive ? [state] : []))
    for (let state = found.pop(); state !== undefined; state = found.pop()) {
      for (const earlier of before[state]!) {
        if (!live[earlier]) found.push(earlier)
        live[earlier] = true
      }
    }
    return live
  }
}

/** States found one by one, numbered in the order in which they were first asked for. */
class Numbering<T> {
  readonly found: T[] = []
  readonly #indices = new Map<string, number>()

  indexOf(key: string, value: T): number {
    let index = this.#indices.get(key)
    if (index === undefined) {
      index = this.found.push(value) - 1
      this.#indices.set(key, index)
    }
    return index
  }
}

/** Determinises a language without recursion (subset construction). */
export function toDfa(grammar: Grammar, budget: Budget, place: string): Dfa {
  const nfa = buildNfa(new Rule(place, grammar), { budget })
  const classes = byteClasses(nfa.states.flatMap(({ edges }) => edges.map(({ set }) => set)))
  const subsets = new Numbering<number[]>()
  const start = closureOf(nfa, [nfa.start])
  subsets.indexOf(start.join(), start)
  const next: number[] = []
  for (let i = 0; i < subsets.found.length; i++) {
    budget.addStates(1, place)
    for (const [byte] of classes.members) {
      const after = new Set<number>()
      for (const state of subsets.found[i]!)
        for (const { set, to } of nfa.states[state]!.edges) if (set.has(byte!)) after.add(to)
      const subset = closureOf(nfa, after)
      next.push(subset.length === 0 ? dead : subsets.indexOf(subset.join(), subset))
    }
    budget.checkTime(place)
  }
  const accepting = subsets.found.map((subset) => subset.some((state) => nfa.states[state]!.isEnd))
  return minimised(new Dfa(classes, accepting, Int32Array.from(next)))
}

/** The states that matter of those reached without a byte, in ascending order. */
function closureOf(nfa: Nfa, states: Iterable<number>): number[] {
  const seen = new Set(states)
  for (const state of seen) for (const to of nfa.states[state]!.epsilons) seen.add(to)
  return [...seen]
    .filter((state) => nfa.states[state]!.edges.length > 0 || nfa.states[state]!.isEnd)
    .sort((a, b) => a - b)
}

/** What two automata accept both. */
export function intersect(a: Dfa, b: Dfa, budget: Budget, place: string): Dfa {
  return product([a, b], budget, place, ([inA, inB]) => inA! && inB!)
}

/** What the first automaton accepts and the second does not. */
export function subtract(a: Dfa, b: Dfa, budget: Budget, place: string): Dfa {
  return product([a, b], budget, place, ([inA, inB]) => inA! && !inB!)
}

function product(
  dfas: [Dfa, Dfa],
  budget: Budget,
  place: string,
  accepts: (isIn: boolean[]) => boolean,
): Dfa {
  const [a, b] = dfas
  return explore(dfas, [0, 0], budget, place, {
    step: ([stateA, stateB], byte) => {
      const next = a.step(stateA!, byte)
      return next === dead ? null : [next, b.step(stateB!, byte)]
    },
    accepts: (states) => accepts(dfas.map((dfa, i) => states[i] !== dead && dfa.accepting[states[i]!]!)),
  })
}

/** Words of an automaton that are made of `min` to `max` words of a prefix-free one. */
export function ofLength(
  dfa: Dfa,
  unit: Dfa,
  bounds: { min: number; max: number },
  budget: Budget,
  place: string,
): Dfa {
  const { min, max } = bounds
  const most = max === Infinity ? min : max
  return explore([dfa, unit], [0, 0, 0], budget, place, {
    step: ([state, within, count], byte) => {
      const next = dfa.step(state!, byte)
      const part = count === max ? dead : unit.step(within!, byte)
      if (next === dead || part === dead) return null
      return unit.accepting[part] ? [next, 0, Math.min(count! + 1, most)] : [next, part, count!]
    },
    accepts: ([state, within, count]) => dfa.accepting[state!]! && within === 0 && count! >= min,
  })
}

interface Exploration {
  step(state: readonly number[], byte: number): number[] | null
  accepts(state: readonly number[]): boolean
}

/** The automaton of all states that are reached from a first one; they tell no bytes apart that `dfas` do not. */
function explore(
  dfas: readonly Dfa[],
  start: number[],
  budget: Budget,
  place: string,
  { step, accepts }: Exploration,
): Dfa {
  const sets = dfas.flatMap((dfa) => dfa.classes.members.map((members) => ByteSet.of(...members)))
  const classes = byteClasses(sets)
  const states = new Numbering<readonly number[]>()
  states.indexOf(start.join(), start)
  const next: number[] = []
  for (let i = 0; i < states.found.length; i++) {
    budget.addStates(1, place)
    for (const [byte] of classes.members) {
      const after = step(states.found[i]!, byte!)
      next.push(after === null ? dead : states.indexOf(after.join(), after))
    }
    budget.checkTime(place)
  }
  return minimised(new Dfa(classes, states.found.map(accepts), Int32Array.from(next)))
}

/** Refinement takes up to a round a state, each over all states; larger automata stay as they are. */
const maxMinimised = 1000

/** Merges states that accept the same and drops those that accept nothing (Moore 1956). */
function minimised(dfa: Dfa): Dfa {
  const live = dfa.live()
  const numClasses = dfa.classes.members.length
  const target = (state: number, index: number) => {
    const to = dfa.next[state * numClasses + index]!
    return to === dead || !live[to] ? dead : to
  }
  const states = live.flatMap((isLive, state) => (isLive || state === 0 ? [state] : []))
  const isLarge = states.length > maxMinimised
  const blocks = isLarge
    ? Int32Array.from({ length: dfa.numStates }, (_, state) => state)
    : refine(states, (state) => String(dfa.accepting[state]), numClasses, target, dfa.numStates)
  const first = new Map<number, number>()
  for (const state of states) if (!first.has(blocks[state]!)) first.set(blocks[state]!, state)
  const kept = [...first.values()]
  const numberOf = new Map([...first.keys()].map((block, i) => [block, i]))
  const next = kept.flatMap((state) =>
    dfa.classes.members.map((_, index) => {
      const to = target(state, index)
      return to === dead ? dead : numberOf.get(blocks[to]!)!
    }),
  )
  return new Dfa(
    dfa.classes,
    kept.map((state) => dfa.accepting[state]!),
    Int32Array.from(next),
  )
}

/** The block of each state, where states of a block cannot be told apart by what follows. */
function refine(
  states: number[],
  kindOf: (state: number) => string,
  numClasses: number,
  target: (state: number, index: number) => number,
  numStates: number,
): Int32Array<ArrayBuffer> {
  let blocks = new Int32Array(numStates)
  let keyOf = kindOf
  for (let numBlocks = 0; ; ) {
    const numbers = new Map<string, number>()
    const refined = new Int32Array(numStates)
    for (const state of states) {
      const key = keyOf(state)
      if (!numbers.has(key)) numbers.set(key, numbers.size)
      refined[state] = numbers.get(key)!
    }
    blocks = refined
    if (numbers.size === numBlocks) return blocks
    numBlocks = numbers.size
    keyOf = (state) => {
      let key = `${refined[state]}`
      for (let i = 0; i < numClasses; i++) {
        const to = target(state, i)
        key += `,${to === dead ? dead : refined[to]}`
      }
      return key
    }
  }
}

/** States that the test for counting may take; larger bodies are copied. */
const maxCountedStates = 1000

/** Whether a language without recursion has neither the empty word nor one that begins another one. */
export function isPrefixFree(body: Grammar, budget: Budget, place: string): boolean {
  let dfa: Dfa
  try {
    dfa = toDfa(body, budget.part(maxCountedStates), place)
  } catch {
    budget.checkTime(place)
    return false
  }
  const numClasses = dfa.classes.members.length
  return (
    !dfa.accepting[0] &&
    dfa.accepting.every(
      (isEnd, state) =>
        !isEnd || dfa.next.subarray(state * numClasses, (state + 1) * numClasses).every((to) => to === dead),
    )
  )
}
