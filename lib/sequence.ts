import type { Engine } from './engine/engine.js'
import { checkInteger, checkOptions, checkPrompt, checkSignal } from './engine/generate-options.js'
import type { SequenceRequest } from './engine/messages.js'
import { DisposedError, invalidType } from './errors.js'

let nextNumber = 1

interface Held {
  engine: Engine
  number: number
}

/** Gives back what the sequences had that were lost without `dispose`. */
const lost = new FinalizationRegistry<Held>(giveBack)

/** A model that is disposed has no sequences any more. */
async function giveBack({ engine, number }: Held): Promise<void> {
  const request = { type: 'sequence', sequence: number, action: { do: 'dispose' } } as const
  await engine.request<'sequence'>(request).catch(() => {})
}

/**
 * A sequence of tokens whose keys and values the engine keeps: to append to, to read logits of, to fork and to truncate.
 * Made by `model.sequence()`. Calls take effect in the order in which they are made.
 */
export interface Sequence {
  /** Tokens it has. */
  readonly length: number
  /**
   * Adds ids at the end and computes them, together with whatever else the engine does.
   *
   * @throws {ContextFullError} when it would be longer than the context
   */
  append(ids: readonly number[], options?: { signal?: AbortSignal }): Promise<void>
  /** The logits after the last token, (vocabSize,). */
  logits(options?: { signal?: AbortSignal }): Promise<Float32Array>
  /** Another one with the same tokens; what is computed is shared until one of them changes it. */
  fork(): Promise<Sequence>
  /** Forgets the tokens from `length` on. */
  truncate(length: number): Promise<void>
  /** Gives its place in the cache back. Idempotent. */
  dispose(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** @internal */
export async function createSequence(engine: Engine, ids: readonly number[]): Promise<Sequence> {
  const sequence = new EngineSequence(engine, nextNumber++)
  await sequence.run({ do: 'create', ids: checkIds(ids) })
  return sequence
}

class EngineSequence implements Sequence {
  length = 0
  readonly #engine: Engine
  readonly #number: number
  #disposed: Promise<void> | undefined

  constructor(engine: Engine, number: number) {
    this.#engine = engine
    this.#number = number
    lost.register(this, { engine, number }, this)
  }

  async append(ids: readonly number[], options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.run({ do: 'append', ids: checkIds(ids) }, signalOf(options))
  }

  async logits(options: { signal?: AbortSignal } = {}): Promise<Float32Array> {
    return (await this.run({ do: 'logits' }, signalOf(options))).logits!
  }

  async fork(): Promise<Sequence> {
    const fork = new EngineSequence(this.#engine, nextNumber++)
    fork.length = (await this.run({ do: 'fork', as: fork.#number })).length
    return fork
  }

  async truncate(length: number): Promise<void> {
    checkInteger('Sequence: length', length, 0, 2 ** 31 - 1)
    if (length === undefined) throw invalidType('Sequence: length', 'a whole number', length)
    await this.run({ do: 'truncate', length })
  }

  dispose(): Promise<void> {
    if (!this.#disposed) {
      lost.unregister(this)
      this.#disposed = giveBack({ engine: this.#engine, number: this.#number })
    }
    return this.#disposed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  /** @internal */
  async run(action: SequenceRequest['action'], signal?: AbortSignal) {
    if (this.#disposed) throw new DisposedError('Sequence: it is disposed')
    const result = await this.#engine.request<'sequence'>(
      { type: 'sequence', sequence: this.#number, action },
      { signal },
    )
    this.length = result.length
    return result
  }
}

function signalOf(options: { signal?: AbortSignal }): AbortSignal | undefined {
  checkOptions('Sequence', options)
  checkSignal('Sequence: signal', options.signal)
  return options.signal
}

function checkIds(ids: unknown): number[] {
  const checked = checkPrompt('Sequence', ids as readonly number[])
  if (typeof checked === 'string') throw invalidType('Sequence: ids', 'an array of token ids', ids)
  return checked
}
