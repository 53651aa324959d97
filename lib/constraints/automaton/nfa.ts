import type { Budget } from '../budget.js'
import { ByteSet } from '../byte-set.js'
import type { Grammar, Repeat, Rule } from '../grammar.js'

export interface Edge {
  set: ByteSet
  to: number
}

/** `entry` is a rule's first state; where the rule ends, the caller goes on at `ret`. */
export interface Call {
  entry: number
  ret: number
}

/** `entry` is the body's first state; the rounds are counted on the stack, not in states. */
export interface Loop {
  entry: number
  exit: number
  min: number
  max: number
  /** No word of the body begins another one, so that the number of rounds is known at every byte. */
  isPrefixFree: boolean
}

export interface State {
  edges: Edge[]
  epsilons: number[]
  calls: Call[]
  /** Indices into `Nfa.loops`. */
  loops: number[]
  /** Where a rule, a loop's body or the whole ends. */
  isEnd: boolean
}

/** A nondeterministic automaton over bytes with calls of rules and counted loops. */
export interface Nfa {
  states: State[]
  loops: Loop[]
  start: number
  /** The rule that each call enters, by its first state. */
  ruleOf: Map<number, Rule>
}

export interface NfaOptions {
  budget: Budget
  /**
   * Whether the body of a loop may be counted on the stack because it is prefix-free; without this function
   * there are neither loops nor calls: rules, which must not contain themselves, are copied.
   */
  isPrefixFree?: (body: Grammar, place: string) => boolean
}

export function buildNfa(rule: Rule, options: NfaOptions): Nfa {
  return new NfaBuilder(options).build(rule)
}

/** Below this many rounds or states copies are cheaper than counting. */
const maxCopiedRounds = 3

/** Thompson 1968, https://doi.org/10.1145/363347.363387, with calls and counters beside. */
class NfaBuilder {
  readonly #options: NfaOptions
  readonly #nfa: Nfa = { states: [], loops: [], start: 0, ruleOf: new Map() }
  readonly #entries = new Map<Rule, number>()
  readonly #bodies = new Map<Grammar, number>()
  readonly #pending: { rule: Rule; entry: number }[] = []
  #place = ''
  #isPlain: boolean

  constructor(options: NfaOptions) {
    this.#options = options
    this.#isPlain = options.isPrefixFree === undefined
  }

  build(rule: Rule): Nfa {
    this.#nfa.start = this.#entryOf(rule)
    for (let next = this.#pending.pop(); next !== undefined; next = this.#pending.pop()) {
      this.#place = next.rule.place
      this.#end(this.#add(next.rule.body, next.entry))
    }
    return this.#nfa
  }

  #newState(): number {
    this.#options.budget.addStates(1, this.#place)
    return this.#nfa.states.push({ edges: [], epsilons: [], calls: [], loops: [], isEnd: false }) - 1
  }

  #state(index: number): State {
    return this.#nfa.states[index]!
  }

  #end(state: number): void {
    this.#state(state).isEnd = true
  }

  #entryOf(rule: Rule): number {
    let entry = this.#entries.get(rule)
    if (entry === undefined) {
      entry = this.#newState()
      this.#entries.set(rule, entry)
      this.#nfa.ruleOf.set(entry, rule)
      this.#pending.push({ rule, entry })
    }
    return entry
  }

  /** Adds a language after the state `from`, into which nothing here leads back; returns where it ends. */
  #add(grammar: Grammar, from: number): number {
    switch (grammar.kind) {
      case 'nothing':
        return this.#newState()
      case 'bytes':
        return this.#addEdge(from, grammar.set)
      case 'literal':
        return grammar.bytes.reduce((state, byte) => this.#addEdge(state, singleton(byte)), from)
      case 'sequence':
        return grammar.parts.reduce((state, part) => this.#add(part, state), from)
      case 'choice': {
        const to = this.#newState()
        for (const option of grammar.options) this.#addEpsilon(this.#add(option, from), to)
        return to
      }
      case 'repeat':
        return this.#addRepeat(grammar, from)
      case 'rule':
        return this.#addRule(grammar.rule, from)
      case 'automaton':
        return this.#addAutomaton(grammar, from)
    }
  }

  #addEdge(from: number, set: ByteSet): number {
    const to = this.#newState()
    this.#state(from).edges.push({ set, to })
    return to
  }

  #addEpsilon(from: number, to: number): void {
    this.#state(from).epsilons.push(to)
  }

  #addRule(rule: Rule, from: number): number {
    if (this.#isPlain) return this.#add(rule.body, from)
    const ret = this.#newState()
    this.#state(from).calls.push({ entry: this.#entryOf(rule), ret })
    return ret
  }

  #addAutomaton({ dfa }: Extract<Grammar, { kind: 'automaton' }>, from: number): number {
    const states = Array.from({ length: dfa.numStates }, () => this.#newState())
    const to = this.#newState()
    this.#addEpsilon(from, states[0]!)
    for (let i = 0; i < dfa.numStates; i++) {
      for (const [target, set] of dfa.edges(i))
        this.#state(states[i]!).edges.push({ set, to: states[target]! })
      if (dfa.accepting[i]) this.#addEpsilon(states[i]!, to)
    }
    return to
  }

  #addRepeat(repeat: Repeat, from: number): number {
    const { body, min, max } = repeat
    if (max === Infinity ? min <= maxCopiedRounds : max <= maxCopiedRounds)
      return this.#addCopies(repeat, from)
    if (this.#isPlain) return this.#addCopies(repeat, from)
    const isPlain = !containsRule(body)
    const isPrefixFree = isPlain && this.#options.isPrefixFree!(body, this.#place)
    if (isPrefixFree || repeat.isDelimited) return this.#addLoop(repeat, from, isPrefixFree)
    // Counting what may be counted in several ways costs a stack for each of them: copies share their states.
    this.#isPlain = isPlain
    const to = this.#addCopies(repeat, from)
    this.#isPlain = false
    return to
  }

  #addLoop({ body, min, max }: Repeat, from: number, isPrefixFree: boolean): number {
    const exit = this.#newState()
    const loop = { entry: this.#bodyEntry(body, isPrefixFree), exit, min, max, isPrefixFree }
    this.#state(from).loops.push(this.#nfa.loops.push(loop) - 1)
    return exit
  }

  /** Loops over one body share its states. */
  #bodyEntry(body: Grammar, isPrefixFree: boolean): number {
    let entry = this.#bodies.get(body)
    if (entry === undefined) {
      entry = this.#newState()
      this.#bodies.set(body, entry)
      this.#isPlain = isPrefixFree
      this.#end(this.#add(body, entry))
      this.#isPlain = false
    }
    return entry
  }

  #addCopies({ body, min, max }: Repeat, from: number): number {
    let state = from
    for (let i = 0; i < min; i++) state = this.#add(body, state)
    if (max === Infinity) return this.#addStar(body, state)
    const to = this.#newState()
    for (let i = min; i < max; i++) {
      this.#addEpsilon(state, to)
      state = this.#add(body, state)
    }
    this.#addEpsilon(state, to)
    return to
  }

  #addStar(body: Grammar, from: number): number {
    const head = this.#newState()
    this.#addEpsilon(from, head)
    this.#addEpsilon(this.#add(body, head), head)
    const to = this.#newState()
    this.#addEpsilon(head, to)
    return to
  }
}

function containsRule(grammar: Grammar): boolean {
  switch (grammar.kind) {
    case 'rule':
      return true
    case 'sequence':
      return grammar.parts.some(containsRule)
    case 'choice':
      return grammar.options.some(containsRule)
    case 'repeat':
      return containsRule(grammar.body)
    default:
      return false
  }
}

const singletons: ByteSet[] = []

function singleton(byte: number): ByteSet {
  singletons[byte] ??= ByteSet.of(byte)
  return singletons[byte]!
}
