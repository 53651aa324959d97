import { ContextFullError, invalidValue, KvasirError } from '../errors.js'
import type { ModelContext } from './generation.js'
import { checkCache, checkIds } from './generation.js'
import type { Results, SequenceRequest } from './messages.js'
import { RowsTask } from './rows-task.js'
import type { Scheduler, Task } from './scheduler.js'
import { Sequence } from './sequence.js'

/** A sequence that the caller goes on with as it likes, and the logits after its last token. */
class KeptSequence {
  readonly task: RowsTask
  logits: Float32Array | undefined
  /** Whether a request waits for it. What others have taken from it is not computed again before. */
  isWanted = false

  constructor(sequence: Sequence) {
    this.task = new RowsTask(sequence, {
      kind: 'logits',
      everyRow: false,
      isWanted: () => this.isWanted,
      onRow: (row) => {
        this.logits = row.slice()
      },
    })
  }
}

/** What a request of a sequence leads to. */
interface Begun {
  /** What is to be computed first, if anything is. */
  task: RowsTask | null
  answer(): Results['sequence']
  /** Makes it as it was before, where the request does not come to its end. */
  undo?(): void
}

/**
 * The sequences that callers keep. They keep their blocks, too, unless others need them: then these are computed again. Of
 * each sequence one request at a time is under way.
 */
export class KeptSequences {
  readonly #context: ModelContext
  readonly #scheduler: Scheduler<Task>
  readonly #kept = new Map<number, KeptSequence>()

  constructor(context: ModelContext, scheduler: Scheduler<Task>) {
    this.#context = context
    this.#scheduler = scheduler
  }

  /** Does what a request asks. The answer is there once the sequence has nothing left to compute. */
  begin({ sequence: id, action }: SequenceRequest): Begun {
    switch (action.do) {
      case 'create':
        return this.#create(id, action.ids)
      case 'append':
        return this.#append(id, action.ids)
      case 'fork':
        return this.#fork(id, action.as)
      case 'truncate':
        return this.#truncate(id, action.length)
      case 'logits':
        return this.#logits(id)
      case 'dispose':
        return this.#dispose(id)
    }
  }

  /** The request under way has ended. */
  end(id: number): void {
    const kept = this.#kept.get(id)
    if (kept) kept.isWanted = false
  }

  #create(id: number, ids: number[]): Begun {
    this.#check(ids, ids.length)
    this.#keep(id, new Sequence([]))
    return { ...this.#append(id, ids), undo: () => this.#dispose(id) }
  }

  #append(id: number, ids: number[]): Begun {
    const { sequence } = this.#get(id).task
    const before = sequence.ids.length
    this.#check(ids, before + ids.length)
    sequence.ids.push(...ids)
    const undo = () => sequence.truncate(before, this.#context.pool)
    return { ...this.#computing(id, false), undo }
  }

  /** @throws when `ids` cannot be the end of a sequence of `length` tokens */
  #check(ids: number[], length: number): void {
    checkIds('Sequence: ids', ids, this.#context)
    if (length > this.#context.contextLength) {
      throw new ContextFullError(
        `Sequence: it must be at most ${this.#context.contextLength} tokens, got ${length}`,
      )
    }
    checkCache('Sequence', length, this.#context)
  }

  #fork(id: number, as: number): Begun {
    const { task, logits } = this.#get(id)
    const copies: number[] = []
    const fork = this.#keep(as, task.sequence.fork(task.sequence.ids.length, this.#context.pool, copies))
    fork.logits = logits
    try {
      this.#context.copyBlocks(copies)
    } catch (error) {
      this.#dispose(as)
      throw error
    }
    const { length } = task.sequence.ids
    return { task: null, answer: () => ({ length }), undo: () => this.#dispose(as) }
  }

  #truncate(id: number, length: number): Begun {
    const kept = this.#get(id)
    const { sequence } = kept.task
    if (length > sequence.ids.length)
      throw invalidValue('Sequence: length', `at most ${sequence.ids.length}`, length)
    if (length < sequence.ids.length) kept.logits = undefined
    sequence.truncate(length, this.#context.pool)
    return { task: null, answer: () => ({ length }) }
  }

  /** The logits after the last token; after a `truncate` that token is fed anew. */
  #logits(id: number): Begun {
    const kept = this.#get(id)
    const { sequence } = kept.task
    const last = sequence.ids.at(-1)
    if (last === undefined) throw invalidValue('Sequence: logits', 'of at least one token', 'none')
    if (!kept.logits && sequence.pending === 0) {
      sequence.truncate(sequence.ids.length - 1, this.#context.pool)
      sequence.ids.push(last)
    }
    return this.#computing(id, true)
  }

  #dispose(id: number): Begun {
    const { task } = this.#get(id)
    this.#scheduler.remove(task)
    this.#kept.delete(id)
    return { task: null, answer: () => ({ length: 0 }) }
  }

  #keep(id: number, sequence: Sequence): KeptSequence {
    const kept = new KeptSequence(sequence)
    this.#kept.set(id, kept)
    this.#scheduler.add(kept.task)
    return kept
  }

  #get(id: number): KeptSequence {
    const kept = this.#kept.get(id)
    if (!kept) throw new KvasirError('ERR_DISPOSED', 'Sequence: it is disposed')
    return kept
  }

  #computing(id: number, withLogits: boolean): Begun {
    const kept = this.#get(id)
    kept.isWanted = true
    const answer = () => ({
      length: kept.task.sequence.ids.length,
      ...(withLogits && kept.logits ? { logits: kept.logits } : {}),
    })
    return { task: kept.task, answer }
  }
}
