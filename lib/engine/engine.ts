import { setMaxListeners } from 'node:events'
import { Worker } from 'node:worker_threads'
import { AbortError, DisposedError, invalidType, KvasirError } from '../errors.js'
import { unpackError } from './error-transfer.js'
import type {
  EngineInfo,
  EngineSetup,
  FromWorker,
  MemoryPlan,
  Piece,
  Request,
  Results,
  ToWorker,
} from './messages.js'
import { flags } from './messages.js'
import { piecesOf } from './piece-columns.js'

/** Distributes over the union, which `Omit` alone does not. */
type Unsent<T> = T extends Request ? Omit<T, 'id' | 'flag'> : never
export type RequestOf<T extends Request['type']> = Unsent<Extract<Request, { type: T }>>

export interface RequestOptions {
  signal?: AbortSignal | undefined
  onPieces?: (pieces: Piece[]) => void
  /** The request's flags, of its own where they are given. */
  flag?: Int32Array
}

interface Pending {
  flag: Int32Array
  onPieces: ((pieces: Piece[]) => void) | undefined
  resolve(result: never): void
  reject(error: unknown): void
}

/**
 * Every engine of this thread, and those that load. At exit their flags are raised, so that a worker in the middle of a long native step
 * ends within milliseconds and does not hold the process up.
 */
const engines = new Set<{ raiseFlags(): void }>()
process.on('exit', () => {
  for (const engine of engines) engine.raiseFlags()
})

function sharedFlag(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4))
}

/** A request's flags. */
export function requestFlags(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4 * flags.count))
}

function startWorker(setup: EngineSetup): Worker {
  return new Worker(new URL('./worker.js', import.meta.url), {
    workerData: setup,
    name: 'kvasir-engine',
    execArgv: [], // flags such as --input-type are for the caller's own script
  })
}

/** What went wrong in the worker, with a code. */
function asInternal(error: Error): Error {
  return 'code' in error
    ? error
    : new KvasirError('ERR_INTERNAL', `engine: ${error.message}`, { cause: error })
}

/** A model loaded in a worker, seen from the caller's thread. */
export class Engine {
  readonly info: EngineInfo
  readonly #worker: Worker
  readonly #stop: Int32Array
  readonly #pending = new Map<number, Pending>()
  #nextId = 1
  #disposed: Promise<void> | undefined
  #failure: unknown

  private constructor(worker: Worker, stop: Int32Array, info: EngineInfo) {
    this.#worker = worker
    this.#stop = stop
    this.info = info
    worker.on('message', (message: FromWorker) => this.#receive(message))
    worker.on('error', (error) => this.#fail(asInternal(error)))
    worker.on('exit', () => this.#fail(new KvasirError('ERR_INTERNAL', 'engine: its worker ended')))
    worker.unref()
    engines.add(this)
  }

  /** What the model would take; a worker works it out and ends. */
  static plan(setup: Omit<EngineSetup, 'stop'>): Promise<MemoryPlan> {
    const worker = startWorker({ ...setup, planOnly: true, stop: sharedFlag() })
    return new Promise<MemoryPlan>((resolve, reject) => {
      worker.once('message', (message: FromWorker) => {
        if (message.type === 'planned') resolve(message.plan)
        if (message.type === 'unready') reject(unpackError(message.error))
      })
      worker.once('error', reject)
      worker.once('exit', () =>
        reject(new KvasirError('ERR_INTERNAL', 'engine: its worker ended while planning')),
      )
    })
  }

  /** Starts a worker that loads the model. */
  static load(
    setup: Omit<EngineSetup, 'stop'>,
    options: { signal?: AbortSignal; onProgress?: (loadedBytes: number, totalBytes: number) => void } = {},
  ): Promise<Engine> {
    const { signal, onProgress } = options
    signal?.throwIfAborted()
    const stop = sharedFlag()
    const worker = startWorker({ ...setup, stop })
    return new Promise<Engine>((resolve, reject) => {
      const loading = { raiseFlags: () => void Atomics.store(stop, 0, 1) }
      const giveUp = (reason: unknown) => {
        loading.raiseFlags()
        reject(reason)
      }
      const onAbort = () => giveUp(signal!.reason)
      const tell = (loadedBytes: number, totalBytes: number) => {
        try {
          onProgress?.(loadedBytes, totalBytes)
        } catch (error) {
          giveUp(error)
        }
      }
      const onMessage = (message: FromWorker) => {
        if (message.type === 'progress') return tell(message.loadedBytes, message.totalBytes)
        settle()
        if (message.type === 'unready') reject(unpackError(message.error))
        if (message.type === 'ready' && Atomics.load(stop, 0) !== 0)
          worker.postMessage({ type: 'dispose' } satisfies ToWorker)
        else if (message.type === 'ready') resolve(new Engine(worker, stop, message.info))
      }
      const onEnd = (error: unknown) => {
        settle()
        reject(
          error instanceof Error
            ? error
            : new KvasirError('ERR_INTERNAL', 'engine: its worker ended while loading'),
        )
      }
      const settle = () => {
        signal?.removeEventListener('abort', onAbort)
        engines.delete(loading)
        worker.off('message', onMessage).off('error', onEnd).off('exit', onEnd)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      engines.add(loading)
      worker.on('message', onMessage).on('error', onEnd).on('exit', onEnd)
    })
  }

  /**
   * Sends a request; resolves with its result.
   *
   * When `signal` aborts, the promise rejects at once with its reason, and the native work stops between two layers.
   */
  request<T extends Request['type']>(
    request: RequestOf<T>,
    { signal, onPieces, flag = requestFlags() }: RequestOptions = {},
  ): Promise<Results[T]> {
    if (this.#disposed) return Promise.reject(new DisposedError(`${request.type}: the model is disposed`))
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (signal) setMaxListeners(0, signal) // one may end any number of calls
    const id = this.#nextId++
    return new Promise<Results[T]>((resolve, reject) => {
      const onAbort = () => this.#cancel(id, signal!.reason)
      signal?.addEventListener('abort', onAbort, { once: true })
      const settled = <V>(settle: (value: V) => void) => {
        return (value: V) => {
          signal?.removeEventListener('abort', onAbort)
          settle(value)
        }
      }
      const pending = { flag, onPieces, resolve: settled(resolve), reject: settled(reject) }
      this.#pending.set(id, pending)
      this.#hold()
      try {
        this.#worker.postMessage({ ...request, id, flag } as ToWorker)
      } catch (error) {
        this.#forget(id)
        pending.reject(invalidType(`${request.type}: arguments`, 'plain data', (error as Error).message))
      }
    })
  }

  /** Lets the worker see that a flag has changed. */
  wake(): void {
    if (this.#disposed || this.#failure !== undefined) return
    this.#hold()
    this.#worker.postMessage({ type: 'wake' } satisfies ToWorker)
  }

  /** Stops all work, frees the model and ends the worker. Requests under way reject. Idempotent. */
  dispose(): Promise<void> {
    this.#disposed ??= this.#end()
    return this.#disposed
  }

  /** Asks the native step under way to return. */
  raiseFlags(): void {
    Atomics.store(this.#stop, 0, 1)
    for (const { flag } of this.#pending.values()) Atomics.store(flag, flags.stop, 1)
  }

  async #end(): Promise<void> {
    this.raiseFlags()
    for (const { reject } of this.#pending.values()) reject(new AbortError('dispose: the model was disposed'))
    this.#pending.clear()
    engines.delete(this)
    if (this.#failure !== undefined) return
    const ended = new Promise<void>((resolve) => {
      this.#worker.once('exit', () => resolve())
    })
    this.#worker.ref()
    this.#worker.postMessage({ type: 'dispose' } satisfies ToWorker)
    await ended
  }

  #cancel(id: number, reason: unknown): void {
    const pending = this.#pending.get(id)
    if (!pending) return
    Atomics.store(pending.flag, flags.stop, 1)
    this.wake()
    this.#forget(id)
    pending.reject(reason)
  }

  #receive(message: FromWorker): void {
    if (message.type === 'pieces') {
      for (const [id, pieces] of piecesOf(message.columns)) this.#pending.get(id)?.onPieces?.(pieces)
      return
    }
    if (message.type !== 'result' && message.type !== 'error') return
    const pending = this.#pending.get(message.id)
    if (!pending) return
    this.#forget(message.id)
    if (message.type === 'result') pending.resolve(message.result as never)
    else pending.reject(unpackError(message.error))
  }

  #forget(id: number): void {
    this.#pending.delete(id)
    this.#hold()
  }

  /** A model keeps the process alive while it works: not when it is idle, nor while its readers are what it waits for. */
  #hold(): void {
    let isAwaited = false
    for (const { flag } of this.#pending.values()) {
      isAwaited = Atomics.load(flag, flags.pause) === 0
      if (isAwaited) break
    }
    if (isAwaited) this.#worker.ref()
    else this.#worker.unref()
  }

  #fail(error: unknown): void {
    this.#failure ??= error
    engines.delete(this)
    for (const { reject } of this.#pending.values()) reject(error)
    this.#pending.clear()
  }
}
