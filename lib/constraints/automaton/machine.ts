import { maxStates, overBudget } from '../budget.js'
import { groupOf, numGroups } from '../byte-groups.js'
import { Frame } from './frame.js'
import type { Program } from './program.js'

/**
 * What an automaton may be in the midst of: several states, each with its stack. The same ones are the same
 * object, until the machine forgets them.
 */
export interface Configuration {
  readonly id: number
  /** Of the machine's memory in which the id is valid. */
  readonly generation: number
  readonly states: readonly number[]
  readonly frames: readonly Frame[]
  /** Nothing need follow. */
  readonly isAccepting: boolean
}

/** No configuration: what was read does not fit. */
export const dead = 0
export const unknown = -1

/** Entries of the transition table: 32 MiB. */
const maxTableEntries = 2 ** 23
const initialConfigurations = 64
/** Steps of one mask or token, about two seconds: what only constraints that were made for it take. */
const maxWork = 2e6
/** States with their stacks in one configuration: ways in which a text can be read, or properties that may come next. */
const maxItems = 10_000
/** The same of all configurations, and their stacks' frames, that are remembered. */
const maxRemembered = 2 ** 20

/**
 * Runs a program: a pushdown automaton whose configurations (sets of states with stacks) are found while it
 * runs and remembered with their transitions, so that where it has been it is as quick as a table. A byte
 * takes constant time there.
 */
export class Machine {
  readonly program: Program
  readonly numClasses: number
  readonly classOf: Uint8Array
  /** (configurations, classes): the id of the next configuration, 0 for none, -1 where it is not known yet. */
  table: Int32Array
  /** Whether nothing need follow, by id. */
  accepting: Uint8Array
  /** By id: what `stableGroups` found, -1 where it has not been asked for. */
  #stable: Int32Array
  generation = 0
  readonly #maxConfigurations: number
  #configurations: Configuration[] = []
  readonly #byKey = new Map<string, Configuration>()
  #root = new Frame(0, null, -1, -1, 0)
  #numFrames = 1
  #numItems = 0
  #work = 0

  constructor(program: Program) {
    this.program = program
    this.numClasses = program.classes.members.length
    this.classOf = program.classes.of
    this.#maxConfigurations = Math.min(maxStates, Math.floor(maxTableEntries / this.numClasses))
    this.table = new Int32Array(0)
    this.accepting = new Uint8Array(0)
    this.#stable = new Int32Array(0)
    this.#forget()
  }

  get numConfigurations(): number {
    return this.#configurations.length
  }

  /** The empty stack. */
  get root(): Frame {
    return this.#root
  }

  configuration(id: number): Configuration {
    return this.#configurations[id]!
  }

  start(): Configuration {
    this.#work = 0
    const found = new Items()
    this.#close(found, this.program.start, this.#root)
    return this.#intern(found)
  }

  /** Call before an operation: makes room where memory is full, and gives a configuration its present id. */
  refresh(configuration: Configuration): Configuration {
    this.#work = 0
    if (this.#isFull) this.#forget()
    if (configuration.generation === this.generation) return configuration
    const frames = configuration.frames.map((frame) => this.#copy(frame, null, this.#root))
    return this.configurationOf(configuration.states, frames, configuration.isAccepting)
  }

  get #isFull(): boolean {
    return (
      this.#configurations.length > this.#maxConfigurations ||
      this.#numItems + this.#numFrames > maxRemembered
    )
  }

  /** The configuration of some states with their stacks, which lead nowhere without a byte. */
  configurationOf(states: readonly number[], frames: readonly Frame[], isAccepting: boolean): Configuration {
    const found = new Items()
    states.forEach((state, i) => void found.add(state, frames[i]!))
    found.isAccepting = isAccepting
    return this.#intern(found)
  }

  /** A stack whose part above `base` stands on `onto` instead. */
  rebase(frame: Frame, base: Frame, onto: Frame): Frame {
    return this.#copy(frame, base, onto)
  }

  push(frame: Frame, ret: number, loop: number, count: number): Frame {
    return frame.push(ret, loop, count, () => this.#numFrames++)
  }

  /** What can be read after `state` without a byte before it. */
  configurationAt(state: number, frame: Frame): Configuration {
    const found = new Items()
    this.#close(found, state, frame)
    return this.#intern(found)
  }

  /** Computes and remembers a transition that the table does not have. */
  transition(id: number, byteClass: number): number {
    const { states, frames } = this.#configurations[id]!
    let found: Items | null = null // most bytes lead nowhere
    const word = byteClass >> 5
    const bit = 1 << (byteClass & 31)
    for (let i = 0; i < states.length; i++) {
      this.#spend()
      for (const { classes, to } of this.program.states[states[i]!]!.edges)
        if ((classes[word]! & bit) !== 0) {
          found ??= new Items()
          this.#close(found, to, frames[i]!)
        }
    }
    const next = found === null ? dead : this.#intern(found).id
    this.table[id * this.numClasses + byteClass] = next
    return next
  }

  next(id: number, byte: number): number {
    const byteClass = this.classOf[byte]!
    const known = this.table[id * this.numClasses + byteClass]!
    return known === unknown ? this.transition(id, byteClass) : known
  }

  /** A bit for each group of bytes (byte-groups.ts) none of which leads to another configuration. */
  stableGroups(id: number): number {
    let groups = this.#stable[id]!
    if (groups === unknown) {
      groups = (1 << numGroups) - 1
      for (let byte = 0; byte < 256; byte++) if (this.next(id, byte) !== id) groups &= ~(1 << groupOf[byte]!)
      this.#stable[id] = groups
    }
    return groups
  }

  /** The classes of bytes that may come next. */
  nextClasses({ states }: Configuration): Uint32Array {
    const union = new Uint32Array((this.numClasses + 31) >> 5)
    for (const state of states)
      for (const { classes } of this.program.states[state]!.edges)
        for (let i = 0; i < union.length; i++) union[i]! |= classes[i]!
    return union
  }

  /** The only byte that can follow where something must, else -1. */
  onlyByte(configuration: Configuration): number {
    if (configuration.isAccepting) return -1
    let only = -1
    for (const [index, word] of this.nextClasses(configuration).entries()) {
      if (word === 0) continue
      if (only >= 0 || (word & (word - 1)) !== 0) return -1
      only = index * 32 + 31 - Math.clz32(word)
    }
    const members = this.program.classes.members[only] ?? []
    return members.length === 1 ? members[0]! : -1
  }

  #spend(): void {
    if (++this.#work > maxWork) throw overBudget('constraint', 'one that a step takes less than a second for')
  }

  /** Adds what is reached from a state without a byte: into rules and loops, and out of them. */
  #close(found: Items, from: number, stack: Frame): void {
    const states = [from]
    const frames = [stack]
    while (states.length > 0) {
      const index = states.pop()!
      const frame = frames.pop()!
      if (!found.visit(index, frame)) continue
      this.#spend()
      const state = this.program.states[index]!
      if (state.edges.length > 0) found.add(index, frame)
      const goOn = (to: number, on: Frame) => {
        states.push(to)
        frames.push(on)
      }
      for (const to of state.epsilons) goOn(to, frame)
      for (const { entry, ret } of state.calls)
        goOn(entry, this.#isOnlyEnd(ret) ? frame : this.push(frame, ret, -1, 0))
      for (const loop of state.loops) this.#goRound(loop, 0, frame, goOn)
      if (!state.isEnd) continue
      if (frame.parent === null) found.isAccepting = true
      else if (frame.loop < 0) goOn(frame.ret, frame.parent)
      else this.#goRound(frame.loop, frame.count + 1, frame.parent, goOn)
    }
  }

  /** A loop after `count` rounds: another one, or the end. */
  #goRound(loop: number, count: number, outer: Frame, goOn: (to: number, on: Frame) => void): void {
    const { entry, exit, min, max } = this.program.loops[loop]!
    const counted = max === Infinity ? Math.min(count, min) : count
    if (count < max) goOn(entry, this.push(outer, -1, loop, counted))
    if (count >= min) goOn(exit, outer)
  }

  /** A call in last place leaves nothing on the stack, so that lists written as recursion do not fill it. */
  #isOnlyEnd(index: number): boolean {
    const { edges, epsilons, calls, loops, isEnd } = this.program.states[index]!
    return isEnd && edges.length + epsilons.length + calls.length + loops.length === 0
  }

  #intern(found: Items): Configuration {
    const order = found.order()
    const key = `${found.isAccepting ? '!' : ''}${order.map((i) => `${found.states[i]},${found.frames[i]!.id}`).join()}`
    let configuration = this.#byKey.get(key)
    if (configuration === undefined) {
      configuration = {
        id: this.#configurations.length,
        generation: this.generation,
        states: order.map((i) => found.states[i]!),
        frames: order.map((i) => found.frames[i]!),
        isAccepting: found.isAccepting,
      }
      this.#remember(key, configuration)
    }
    return configuration
  }

  #remember(key: string, configuration: Configuration): void {
    if (configuration.states.length > maxItems)
      throw overBudget('constraint', `one that a text can be read by in at most ${maxItems} ways at once`)
    this.#numItems += configuration.states.length
    this.#configurations.push(configuration)
    this.#byKey.set(key, configuration)
    if (this.#configurations.length > this.accepting.length) {
      const table = new Int32Array(this.table.length * 2).fill(unknown)
      table.set(this.table)
      this.table = table
      const accepting = new Uint8Array(this.accepting.length * 2)
      accepting.set(this.accepting)
      this.accepting = accepting
      const stable = new Int32Array(accepting.length).fill(unknown)
      stable.set(this.#stable)
      this.#stable = stable
    }
    this.accepting[configuration.id] = Number(configuration.isAccepting)
  }

  /** Begins anew with an empty memory; what still runs is found again when it goes on. */
  #forget(): void {
    this.generation++
    this.#byKey.clear()
    this.#root = new Frame(0, null, -1, -1, 0)
    this.#numFrames = 1
    this.#numItems = 0
    this.table = new Int32Array(initialConfigurations * this.numClasses).fill(unknown)
    this.accepting = new Uint8Array(initialConfigurations)
    this.#stable = new Int32Array(initialConfigurations).fill(unknown)
    this.#configurations = []
    // The dead configuration has the id 0.
    this.#remember('', {
      id: dead,
      generation: this.generation,
      states: [],
      frames: [],
      isAccepting: false,
    })
  }

  #copy(frame: Frame, base: Frame | null, onto: Frame): Frame {
    const above: Frame[] = []
    for (let at = frame; at !== base && at.parent !== null; at = at.parent) above.push(at)
    return above.reduceRight((below, { ret, loop, count }) => this.push(below, ret, loop, count), onto)
  }
}

/** States with their stacks, each once. */
class Items {
  readonly states: number[] = []
  readonly frames: Frame[] = []
  isAccepting = false
  readonly #seen = new Set<number>()

  get size(): number {
    return this.states.length
  }

  /** Whether this is the first visit. */
  visit(state: number, frame: Frame): boolean {
    const size = this.#seen.size
    return this.#seen.add(frame.id * 2 ** 20 + state).size > size
  }

  add(state: number, frame: Frame): void {
    this.states.push(state)
    this.frames.push(frame)
  }

  /** The order in which equal sets are equal. */
  order(): number[] {
    const order = this.states.map((_, i) => i)
    return order.sort((a, b) => this.frames[a]!.id - this.frames[b]!.id || this.states[a]! - this.states[b]!)
  }
}
