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

  constructor(sequence: Sequence) {
    this.task = new RowsTask(sequence, {
      kind: 'logits',
      everyRow: false,
      onRow: (row) => {
        this.logits = row.slice()
      },
    })
  }
}

/** The sequences that callers keep. They keep their blocks, too, unless others need them: then these are computed again. */
export class KeptSequences {
  readonly #context: ModelContext
  readonly #scheduler: Scheduler<Task>
  readonly #kept = new Map<number, KeptSequence>()

  constructor(context: ModelContext, scheduler: Scheduler<Task>) {
    this.#context = context
    this.#scheduler = scheduler
  }

  /** Does what a request asks. The answer is there once the sequence has nothing left to compute. */
  begin({ sequence: id, action }: SequenceRequest): { task: RowsTask | null; answer(): Results['sequence'] } {
    switch (action.do) {
      case 'create':
        this.#keep(id, new Sequence([]))
        return this.#append(id, action.ids)
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

  #append(id: number, ids: number[]) {
    const { sequence } = this.#get(id).task
    const length = sequence.ids.length + ids.length
    checkIds('Sequence: ids', ids, this.#context)
    if (length > this.#context.contextLength) {
      throw new ContextFullError(
        `Sequence: it must be at most ${this.#context.contextLength} tokens, got ${length}`,
      )
    }
    checkCache('Sequence', length, this.#context)
    sequence.ids.push(...ids)
    return this.#answering(id, false)
  }

  #fork(id: number, as: number) {
    const { task, logits } = this.#get(id)
    const copies: number[] = []
    const fork = this.#keep(as, task.sequence.fork(task.sequence.ids.length, this.#context.pool, copies))
    this.#context.copyBlocks(copies)
    fork.logits = logits
    return this.#answering(as, false)
  }

  #truncate(id: number, length: number) {
    const kept = this.#get(id)
    const { sequence } = kept.task
    if (length > sequence.ids.length)
      throw invalidValue('Sequence: length', `at most ${sequence.ids.length}`, length)
    if (length < sequence.ids.length) kept.logits = undefined
    sequence.truncate(length, this.#context.pool)
    return this.#answering(id, false)
  }

  /** The logits after the last token; after a `truncate` that token is fed anew. */
  #logits(id: number) {
    const kept = this.#get(id)
    const { sequence } = kept.task
    const last = sequence.ids.at(-1)
    if (last === undefined) throw invalidValue('Sequence: logits', 'of at least one token', 'none')
    if (!kept.logits && sequence.pending === 0) {
      sequence.truncate(sequence.ids.length - 1, this.#context.pool)
      sequence.ids.push(last)
    }
    return this.#answering(id, true)
  }

  #dispose(id: number) {
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

  #answering(id: number, withLogits: boolean) {
    const kept = this.#get(id)
    const answer = () => ({
      length: kept.task.sequence.ids.length,
      ...(withLogits && kept.logits ? { logits: kept.logits.slice() } : {}),
    })
    return { task: kept.task, answer }
  }
}
