/**
 * One place on the stack of an automaton: where to go on after a rule, or a loop and the rounds that it has
 * done. Stacks share what they have in common, and equal ones are the same object.
 */
export class Frame {
  readonly id: number
  readonly parent: Frame | null
  readonly depth: number
  /** The state after the rule, or -1 for a loop. */
  readonly ret: number
  readonly loop: number
  readonly count: number
  readonly #children = new Map<number, Frame>()

  constructor(id: number, parent: Frame | null, ret: number, loop: number, count: number) {
    this.id = id
    this.parent = parent
    this.depth = parent === null ? 0 : parent.depth + 1
    this.ret = ret
    this.loop = loop
    this.count = count
  }

  /** The frame with this content on top of this one; `newId` numbers it where it is new. */
  push(ret: number, loop: number, count: number, newId: () => number): Frame {
    // A return state is below 2^20, a loop too; loops and their counts are told from states by the sign.
    const key = loop < 0 ? ret : -(count * 2 ** 20 + loop) - 1
    let child = this.#children.get(key)
    if (child === undefined) {
      child = new Frame(newId(), this, ret, loop, count)
      this.#children.set(key, child)
    }
    return child
  }
}

/** The deepest frame that all of some stacks have in common. */
export function commonFrame(frames: readonly Frame[]): Frame {
  return frames.reduce((a, b) => {
    let [left, right] = [a, b]
    while (left !== right) {
      if (left.depth >= right.depth) left = left.parent!
      else right = right.parent!
    }
    return left
  })
}
