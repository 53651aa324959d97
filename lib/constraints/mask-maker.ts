import { commonFrame, type Frame } from './automaton/frame.js'
import type { Configuration, Machine } from './automaton/machine.js'
import { Mask } from './mask.js'
import type { TokenTrie } from './token-trie.js'
import { classify, type LocalView, walk } from './trie-walk.js'

/** Bytes of masks that one constraint remembers. */
const maxMaskBytes = 8 * 2 ** 20
/** Views that one constraint remembers; each takes four bytes a token. */
const maxViews = 32

/**
 * The masks of a machine's configurations over one vocabulary.
 *
 * Nearly all tokens are taken or refused by the top of the stack alone, so that what the trie says there is
 * found once for all stacks, and only the few tokens that leave the top are tried on each (the idea is that of
 * XGrammar, https://arxiv.org/abs/2411.15100). In the same way all counts of a loop share one walk: a token is
 * taken where it needs no more rounds than are left.
 */
export class MaskMaker {
  readonly #machine: Machine
  readonly #trie: TokenTrie
  /** In the order of their last use. */
  readonly #masks = new Map<Configuration, Mask>()
  readonly #views = new Map<Configuration, LocalView | null>()
  #sizeBytes = 0
  #generation = 0

  constructor(machine: Machine, trie: TokenTrie) {
    this.#machine = machine
    this.#trie = trie
  }

  get sizeBytes(): number {
    return this.#sizeBytes + this.#views.size * this.#trie.size * 4
  }

  maskOf(configuration: Configuration): Mask {
    if (this.#generation !== this.#machine.generation) this.#forget()
    const known = this.#masks.get(configuration)
    if (known !== undefined) {
      this.#masks.delete(configuration)
      this.#masks.set(configuration, known)
      return known
    }
    const words = new Int32Array((this.#trie.size + 31) >> 5)
    const isDone = this.#addByLoop(configuration, words) || this.#addByStackTop(configuration, words)
    if (!isDone) walk(this.#trie, this.#machine, configuration.id, words)
    const mask = new Mask(words)
    this.#remember(configuration, mask)
    return mask
  }

  /** What the machine has forgotten is never asked for again. */
  #forget(): void {
    this.#generation = this.#machine.generation
    this.#masks.clear()
    this.#views.clear()
    this.#sizeBytes = 0
  }

  #remember(configuration: Configuration, mask: Mask): void {
    this.#masks.set(configuration, mask)
    this.#sizeBytes += mask.sizeBytes
    for (const [oldest, { sizeBytes }] of this.#masks) {
      if (this.#sizeBytes <= maxMaskBytes) break
      this.#masks.delete(oldest)
      this.#sizeBytes -= sizeBytes
    }
  }

  /** Where all stacks have a bottom in common: what is above it, found once, and the tokens that reach it. */
  #addByStackTop(configuration: Configuration, words: Int32Array): boolean {
    const machine = this.#machine
    if (configuration.frames.length === 0) return true // nothing can follow
    const base = commonFrame(configuration.frames)
    if (base === machine.root) return false
    const frames = configuration.frames.map((frame) => machine.rebase(frame, base, machine.root))
    const view = this.#viewOf(machine.configurationOf(configuration.states, frames, false), -1)
    if (view === null) return false
    words.set(view.words)
    walk(view.dependents, machine, configuration.id, words)
    return true
  }

  /**
   * In a counted loop: what its body takes, found once for all counts, and the tokens that leave it. The bytes
   * that go on in the loop must not go on elsewhere too.
   */
  #addByLoop(configuration: Configuration, words: Int32Array): boolean {
    const { program, root } = this.#machine
    const frame = configuration.frames.find(({ loop }) => loop >= 0 && program.loops[loop]!.isPrefixFree)
    if (frame === undefined) return false
    const { entry, max, unbounded } = program.loops[frame.loop]!
    const onTop = this.#machine.push(root, -1, unbounded, 0)
    const first = this.#machine.configurationAt(entry, onTop)
    const head = this.#machine.configurationOf(first.states, first.frames, true)
    const states = configuration.states.filter((_, i) => configuration.frames[i] === frame)
    const isAtHead = states.join() === first.states.join()
    if (!this.#isAlone(configuration, frame, first, isAtHead)) return false
    const inside = this.#machine.configurationOf(
      states,
      states.map(() => onTop),
      isAtHead,
    )
    const view = this.#viewOf(inside, head.id)
    if (view === null) return false
    addWithin(view, max - frame.count, words)
    walk(view.dependents, this.#machine, configuration.id, words)
    return true
  }

  #isAlone(configuration: Configuration, frame: Frame, first: Configuration, isAtHead: boolean): boolean {
    const machine = this.#machine
    const others = configuration.states.flatMap((state, i) =>
      configuration.frames[i] === frame ? [] : [{ state, frame: configuration.frames[i]! }],
    )
    if (others.length > 0 && !isAtHead) return false
    const beside = machine.configurationOf(
      others.map(({ state }) => state),
      others.map((other) => other.frame),
      false,
    )
    const after = machine.configurationAt(machine.program.loops[frame.loop]!.exit, frame.parent!)
    const onward = machine.nextClasses(first)
    return [beside, after].every((other) =>
      machine.nextClasses(other).every((bits, i) => (bits & onward[i]!) === 0),
    )
  }

  #viewOf(local: Configuration, head: number): LocalView | null {
    let view = this.#views.get(local)
    if (view === undefined) {
      view = classify(this.#trie, this.#machine, local.id, head)
      if (this.#views.size === maxViews) this.#views.delete(this.#views.keys().next().value!)
      this.#views.set(local, view)
    }
    return view
  }
}

/** Adds the tokens that need at most `rounds` rounds. */
function addWithin({ words, tokensByRounds }: LocalView, rounds: number, into: Int32Array): void {
  const within = tokensByRounds.slice(0, rounds + 1)
  const beyond = tokensByRounds.slice(rounds + 1)
  const count = (lists: Int32Array[]) => lists.reduce((sum, { length }) => sum + length, 0)
  if (count(beyond) < count(within)) {
    into.set(words)
    for (const tokens of beyond) for (const id of tokens) into[id >> 5]! &= ~(1 << (id & 31))
  } else {
    for (const tokens of within) for (const id of tokens) into[id >> 5]! |= 1 << (id & 31)
  }
}
