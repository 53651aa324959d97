import { unsatisfiable, unsupported } from '../budget.js'
import type { ByteSet } from '../byte-set.js'
import { type ByteClasses, byteClasses } from './byte-classes.js'
import type { Call, Loop, Nfa } from './nfa.js'

export interface ProgramEdge {
  /** A bit for each class of bytes. */
  classes: Uint32Array
  to: number
}

export interface ProgramState {
  edges: ProgramEdge[]
  epsilons: number[]
  calls: Call[]
  loops: number[]
  isEnd: boolean
}

export interface ProgramLoop extends Loop {
  /**
   * The loop over the same body without bounds that ends where it likes: what a token does inside of any
   * loop over it, but for the count.
   */
  unbounded: number
}

/** An automaton that is ready to run: bytes in classes, and nothing in it that leads nowhere. */
export interface Program {
  classes: ByteClasses
  states: ProgramState[]
  loops: ProgramLoop[]
  start: number
}

/**
 * @param usable bytes that a vocabulary can write singly. Others are left out, so that whatever is begun can be
 * ended.
 */
export function prepare(nfa: Nfa, usable: ByteSet): Program {
  const usableSets = nfa.states.map(({ edges }) => edges.map(({ set }) => set.intersection(usable)))
  const classes = byteClasses(usableSets.flat())
  const productive = findProductive(nfa, usableSets)
  const place = nfa.ruleOf.get(nfa.start)!.place
  if (!productive[nfa.start]) throw unsatisfiable(place, 'nothing that the tokens can write fulfils it')
  refuseLeftRecursion(nfa)
  const resolve = (state: number) => skipEpsilons(nfa, state)
  const states = nfa.states.map((state, index): ProgramState => {
    const edges = state.edges.map(({ to }, i) => ({ to: resolve(to), set: usableSets[index]![i]! }))
    return {
      edges: edges
        .filter(({ to, set }) => productive[to] && !set.isEmpty)
        .map(({ to, set }) => ({ to, classes: classBits(set, classes) })),
      epsilons: state.epsilons.map(resolve).filter((to) => productive[to]),
      calls: state.calls
        .filter(({ entry, ret }) => productive[entry] && productive[ret])
        .map(({ entry, ret }) => ({ entry: resolve(entry), ret: resolve(ret) })),
      loops: state.loops.filter((loop) => isProductiveLoop(nfa.loops[loop]!, productive)),
      isEnd: state.isEnd,
    }
  })
  const loops = nfa.loops.map((loop) => ({
    ...loop,
    max: productive[loop.entry] ? loop.max : 0,
    unbounded: -1,
  }))
  addUnboundedLoops(states, loops)
  return { classes, states, loops, start: resolve(nfa.start) }
}

function classBits(set: ByteSet, { members }: ByteClasses): Uint32Array {
  const bits = new Uint32Array((members.length + 31) >> 5)
  members.forEach(([byte], index) => {
    if (set.has(byte!)) bits[index >> 5]! |= 1 << (index & 31)
  })
  return bits
}

/** The state itself, or the one behind it where it does nothing but lead there. */
function skipEpsilons({ states }: Nfa, from: number): number {
  let state = from
  for (let i = 0; i < states.length; i++) {
    const { edges, epsilons, calls, loops, isEnd } = states[state]!
    if (isEnd || epsilons.length !== 1 || edges.length + calls.length + loops.length > 0) break
    state = epsilons[0]!
  }
  return state
}

function isProductiveLoop({ entry, exit, min }: Loop, productive: boolean[]): boolean {
  return productive[exit]! && (min === 0 || productive[entry]!)
}

/** Whether each state can come to the end of its rule. */
function findProductive({ states, loops }: Nfa, usable: ByteSet[][]): boolean[] {
  return leastFixpoint(
    states.map(({ edges, epsilons, calls, loops: loopIds }) => [
      ...edges.map(({ to }) => to),
      ...epsilons,
      ...calls.flatMap(({ entry, ret }) => [entry, ret]),
      ...loopIds.flatMap((loop) => [loops[loop]!.entry, loops[loop]!.exit]),
    ]),
    (index, productive) => {
      const state = states[index]!
      return (
        state.isEnd ||
        state.edges.some(({ to }, i) => productive[to]! && !usable[index]![i]!.isEmpty) ||
        state.epsilons.some((to) => productive[to]!) ||
        state.calls.some(({ entry, ret }) => productive[entry]! && productive[ret]!) ||
        state.loops.some((loop) => isProductiveLoop(loops[loop]!, productive))
      )
    },
  )
}

/** Whether each state can come to the end of its rule without a byte. */
function findNullable({ states, loops }: Nfa): boolean[] {
  return leastFixpoint(
    states.map(({ epsilons, calls, loops: loopIds }) => [
      ...epsilons,
      ...calls.flatMap(({ entry, ret }) => [entry, ret]),
      ...loopIds.flatMap((loop) => [loops[loop]!.entry, loops[loop]!.exit]),
    ]),
    (index, nullable) => {
      const state = states[index]!
      return (
        state.isEnd ||
        state.epsilons.some((to) => nullable[to]!) ||
        state.calls.some(({ entry, ret }) => nullable[entry]! && nullable[ret]!) ||
        state.loops.some((loop) => isProductiveLoop(loops[loop]!, nullable))
      )
    },
  )
}

/** The least truths for which `holds` is right, where each depends on those of `dependencies`; linear time. */
function leastFixpoint(
  dependencies: number[][],
  holds: (index: number, truths: boolean[]) => boolean,
): boolean[] {
  const dependents: number[][] = dependencies.map(() => [])
  dependencies.forEach((on, index) => {
    for (const dependency of on) dependents[dependency]!.push(index)
  })
  const truths = dependencies.map(() => false)
  const pending = dependencies.map((_, index) => index)
  for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
    if (truths[index] || !holds(index, truths)) continue
    truths[index] = true
    for (const dependent of dependents[index]!) pending.push(dependent)
  }
  return truths
}

/** A rule that can begin with itself would be called forever. @throws ConstraintError `ERR_UNSUPPORTED` */
function refuseLeftRecursion(nfa: Nfa): void {
  const nullable = findNullable(nfa)
  const done = new Set<number>()
  for (const root of nfa.ruleOf.keys()) {
    const way: { entry: number; left: number[] }[] = []
    const enter = (entry: number) => {
      if (way.some((step) => step.entry === entry))
        throw unsupported(nfa.ruleOf.get(entry)!.place, 'a rule that begins with itself')
      if (!done.has(entry)) way.push({ entry, left: firstCalls(nfa, entry, nullable) })
    }
    enter(root)
    while (way.length > 0) {
      const next = way.at(-1)!.left.pop()
      if (next === undefined) done.add(way.pop()!.entry)
      else enter(next)
    }
  }
}

/** The rules that a rule may call before its first byte. */
function firstCalls({ states, loops }: Nfa, entry: number, nullable: boolean[]): number[] {
  const seen = new Set([entry])
  const called = new Set<number>()
  for (const state of seen) {
    const { epsilons, calls, loops: loopIds } = states[state]!
    for (const to of epsilons) seen.add(to)
    for (const call of calls) {
      called.add(call.entry)
      if (nullable[call.entry]) seen.add(call.ret)
    }
    for (const loop of loopIds.map((id) => loops[id]!)) {
      seen.add(loop.entry)
      if (loop.min === 0 || nullable[loop.entry]) seen.add(loop.exit)
    }
  }
  return [...called]
}

function addUnboundedLoops(states: ProgramState[], loops: ProgramLoop[]): void {
  const end = states.push({ edges: [], epsilons: [], calls: [], loops: [], isEnd: true }) - 1
  const ofEntry = new Map<number, number>()
  for (const loop of [...loops]) {
    if (!loop.isPrefixFree) continue
    if (!ofEntry.has(loop.entry)) {
      ofEntry.set(loop.entry, loops.length)
      loops.push({ ...loop, exit: end, min: 0, max: Infinity, unbounded: -1 })
    }
    loop.unbounded = ofEntry.get(loop.entry)!
  }
}
