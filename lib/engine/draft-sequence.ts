import type { BlockPool } from './block-pool.js'
import type { SampleTask } from './sample-task.js'
import type { Task } from './scheduler.js'
import type { SequenceOptions } from './sequence.js'
import { Sequence } from './sequence.js'

/** A text as a draft model sees it: the text's tokens, and behind them those that were guessed last. */
export class DraftSequence implements Task {
  readonly kind = 'sample'
  readonly priority = 0
  readonly waits = false
  readonly sequence: Sequence
  /** Its first tokens are the text's own. */
  #agreed: number

  constructor({ sequence: { ids } }: SampleTask, options: SequenceOptions, pool: BlockPool) {
    this.sequence = new Sequence(ids, options)
    this.sequence.takePrefix(pool)
    this.#agreed = ids.length
  }

  drafts(): readonly number[] {
    return []
  }

  rows(): number {
    return 1
  }

  /** Takes over what the text has now; guesses that were right are kept, with their keys and values. */
  follow(ids: readonly number[], pool: BlockPool): void {
    const { sequence } = this
    let same = this.#agreed
    while (same < Math.min(ids.length, sequence.ids.length) && sequence.ids[same] === ids[same]) same++
    if (same < sequence.ids.length) sequence.truncate(same, pool)
    for (let i = same; i < ids.length; i++) sequence.ids.push(ids[i]!)
    this.#agreed = ids.length
  }

  /** Notes how many tokens were fed. Blocks become known only as far as they hold the text's own tokens. */
  commit(computed: number, pool: BlockPool): void {
    this.sequence.commit(Math.min(computed, this.#agreed), pool)
    this.sequence.computed = computed
  }
}
