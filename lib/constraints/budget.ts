import { ConstraintError } from '../errors.js'

/** Largest text of a constraint, in bytes of UTF-8. */
export const maxConstraintBytes = 2 ** 16
/** Deepest nesting of a schema, of groups in a regular expression or a grammar. */
export const maxDepth = 64
/** Most states of an automaton, those that are made while matching included. */
export const maxStates = 100_000
/** Longest time that compiling takes, in milliseconds. */
export const maxCompileMs = 1000

/** What one compilation may use; whoever makes states asks here first. */
export class Budget {
  readonly #maxStates: number
  readonly #deadline: number
  #numStates = 0
  #numAsked = 0

  constructor(states = maxStates, deadline = performance.now() + maxCompileMs) {
    this.#maxStates = states
    this.#deadline = deadline
  }

  /** For a part that is worth so many states; they do not count here, its time does. */
  part(states: number): Budget {
    return new Budget(Math.min(states, this.#maxStates), this.#deadline)
  }

  /** Takes account of new states of the automaton. @throws ConstraintError `ERR_BUDGET` */
  addStates(count: number, place: string): void {
    this.#numStates += count
    if (this.#numStates > this.#maxStates)
      throw overBudget(place, `at most ${this.#maxStates} states of an automaton`)
    // A look at the clock takes as long as a few states.
    if ((++this.#numAsked & 0xff) === 0) this.checkTime(place)
  }

  /** @throws ConstraintError `ERR_BUDGET` */
  checkTime(place: string): void {
    if (performance.now() > this.#deadline) throw overBudget(place, `compiled within ${maxCompileMs} ms`)
  }
}

export function overBudget(place: string, expected: string): ConstraintError {
  return new ConstraintError('ERR_BUDGET', `${place} must be ${expected}`)
}

export function unsupported(place: string, what: string): ConstraintError {
  return new ConstraintError('ERR_UNSUPPORTED', `${place}: ${what} is not supported`)
}

export function unsatisfiable(place: string, why: string): ConstraintError {
  return new ConstraintError('ERR_UNSATISFIABLE', `${place}: ${why}`)
}

export function malformed(place: string, expected: string, found: string): ConstraintError {
  return new ConstraintError('ERR_INVALID_ARG_VALUE', `${place} must be ${expected}, got ${found}`)
}
