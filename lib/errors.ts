/** Every error that Kvasir throws on purpose carries a stable `code`. */
export type ErrorCode =
  | 'ERR_INVALID_ARG_TYPE'
  | 'ERR_INVALID_ARG_VALUE'
  | 'ERR_SHAPE'
  | 'ERR_DTYPE'
  | 'ERR_FILE_FORMAT'
  | 'ERR_FILE_TRUNCATED'
  | 'ERR_FILE_CHANGED'
  | 'ERR_FILE_NOT_FOUND'
  | 'ERR_UNSUPPORTED'
  | 'ERR_DEVICE'
  | 'ERR_OUT_OF_MEMORY'
  | 'ERR_CONTEXT_FULL'
  | 'ERR_NUMERIC'
  | 'ERR_DISPOSED'
  | 'ERR_ABORTED'
  | 'ERR_DEADLINE'
  | 'ERR_TEMPLATE'
  | 'ERR_HUB_NOT_FOUND'
  | 'ERR_HUB_ACCESS'
  | 'ERR_HUB_BUSY'
  | 'ERR_HUB_UNREACHABLE'
  | 'ERR_HUB_FILE'
  | 'ERR_UNSATISFIABLE'
  | 'ERR_BUDGET'
  | 'ERR_INTERNAL'

/** Base of the library's own errors. */
export class KvasirError extends Error {
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.name = new.target.name
  }
}

/** Shapes of an operation's arguments do not fit together. */
export class ShapeError extends KvasirError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_SHAPE', message, options)
  }
}

/** An argument has a dtype the operation does not take. */
export class DTypeError extends KvasirError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_DTYPE', message, options)
  }
}

/** Which part of a checkpoint is wrong, and how. */
export interface CheckpointProblem {
  file?: string
  tensor?: string
  field?: string
  expected?: string
  found?: string
}

/** A checkpoint, configuration or tokenizer file is missing, malformed or does not fit the model. */
export class CheckpointError extends KvasirError {
  readonly problem: CheckpointProblem
  constructor(code: ErrorCode, message: string, problem: CheckpointProblem = {}, options?: ErrorOptions) {
    super(code, message, options)
    this.problem = problem
  }
}

/** A device, instruction set or native module cannot be used. */
export class DeviceError extends KvasirError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_DEVICE', message, options)
  }
}

/** Memory ran out, or would. */
export class OutOfMemoryError extends KvasirError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_OUT_OF_MEMORY', message, options)
  }
}

/** The model produced a value that is not a number, so no token can be chosen. */
export class NumericError extends KvasirError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_NUMERIC', message, options)
  }
}

/** The model was used after `dispose()`. */
export class DisposedError extends KvasirError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_DISPOSED', message, options)
  }
}

/** Work was stopped by `dispose()`; an `AbortSignal` rejects with its own reason instead. */
export class AbortError extends KvasirError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_ABORTED', message, options)
  }
}

/** A request took longer than its `timeoutMs`. */
export class DeadlineError extends KvasirError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_DEADLINE', message, options)
  }
}

/** A prompt does not fit the model's context. */
export class ContextFullError extends KvasirError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_CONTEXT_FULL', message, options)
  }
}

/** A chat template is malformed, refuses the messages, or was stopped because it took too much time or memory. */
export class TemplateError extends KvasirError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_TEMPLATE', message, options)
  }
}

/**
 * A model could not be had from the hub: it is not there (`ERR_HUB_NOT_FOUND`), may not be read (`ERR_HUB_ACCESS`), the hub
 * wants to be left alone (`ERR_HUB_BUSY`), does not answer (`ERR_HUB_UNREACHABLE`), or sent something else than it promised
 * (`ERR_HUB_FILE`).
 */
export class HubError extends KvasirError {}

/**
 * A constraint on generated text that cannot be compiled: malformed (`ERR_INVALID_ARG_VALUE`), beyond what is
 * supported (`ERR_UNSUPPORTED`), with nothing that fulfils it (`ERR_UNSATISFIABLE`) or too large (`ERR_BUDGET`).
 */
export class ConstraintError extends KvasirError {
  /** @param message names the place: a JSON pointer into the schema, an offset in a regex or a grammar */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(code, message, options)
  }
}

/** A value of the wrong kind: a `TypeError` with a `code`. */
export function invalidType(where: string, expected: string, found: unknown): TypeError {
  const error = new TypeError(`${where} must be ${expected}, got ${describe(found)}`)
  return Object.assign(error, { code: 'ERR_INVALID_ARG_TYPE' as const })
}

/** A value outside its range: a `RangeError` with a `code`. */
export function invalidValue(where: string, expected: string, found: unknown): RangeError {
  const error = new RangeError(`${where} must be ${expected}, got ${describe(found)}`)
  return Object.assign(error, { code: 'ERR_INVALID_ARG_VALUE' as const })
}

/** A value in the words of an error message, never long. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}...` : value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'object' && value !== null)
    return Object.getPrototypeOf(value)?.constructor?.name ?? 'an object'
  if (typeof value === 'function') return 'a function'
  return String(value)
}
