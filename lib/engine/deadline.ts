import { DeadlineError } from '../errors.js'

/** A signal that aborts when the caller's does, and with a `DeadlineError` after `timeoutMs`. */
export class Deadline {
  readonly signal: AbortSignal | undefined
  readonly #timer: NodeJS.Timeout | undefined

  constructor(
    where: string,
    { signal, timeoutMs }: { signal?: AbortSignal | undefined; timeoutMs?: number | undefined },
  ) {
    this.signal = signal
    if (timeoutMs === undefined) return
    const controller = new AbortController()
    this.signal = signal ? AbortSignal.any([signal, controller.signal]) : controller.signal
    const expire = () => controller.abort(new DeadlineError(`${where}: not done within ${timeoutMs} ms`))
    this.#timer = setTimeout(expire, timeoutMs)
  }

  /** What was to be done is done. */
  clear(): void {
    clearTimeout(this.#timer)
  }
}
