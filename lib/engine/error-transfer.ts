import type { CheckpointProblem, ErrorCode } from '../errors.js'
import {
  AbortError,
  CheckpointError,
  ConstraintError,
  ContextFullError,
  DeviceError,
  DisposedError,
  DTypeError,
  KvasirError,
  NumericError,
  OutOfMemoryError,
  ShapeError,
} from '../errors.js'

/** An error between threads: structured clone would lose its class and code. */
export interface TransferredError {
  name: string
  message: string
  code: ErrorCode | undefined
  stack: string | undefined
  problem: CheckpointProblem | undefined
}

export function packError(error: unknown): TransferredError {
  const known = error instanceof Error ? error : new Error(String(error))
  const { code, problem } = known as { code?: ErrorCode; problem?: CheckpointProblem }
  return { name: known.name, message: known.message, code, stack: known.stack, problem }
}

/** The same error in this thread; what happened in the other one is its `cause`. */
export function unpackError({ name, message, code, stack, problem }: TransferredError): Error {
  const cause = new Error(message)
  cause.name = name
  if (stack !== undefined) cause.stack = stack
  return rebuild(name, message, code ?? 'ERR_INTERNAL', problem, { cause })
}

function rebuild(
  name: string,
  message: string,
  code: ErrorCode,
  problem: CheckpointProblem | undefined,
  options: ErrorOptions,
): Error {
  switch (name) {
    case 'TypeError':
      return Object.assign(new TypeError(message, options), { code })
    case 'RangeError':
      return Object.assign(new RangeError(message, options), { code })
    case 'CheckpointError':
      return new CheckpointError(code, message, problem, options)
    case 'ShapeError':
      return new ShapeError(message, options)
    case 'DTypeError':
      return new DTypeError(message, options)
    case 'DeviceError':
      return new DeviceError(message, options)
    case 'OutOfMemoryError':
      return new OutOfMemoryError(message, options)
    case 'NumericError':
      return new NumericError(message, options)
    case 'DisposedError':
      return new DisposedError(message, options)
    case 'AbortError':
      return new AbortError(message, options)
    case 'ConstraintError':
      return new ConstraintError(code, message, options)
    case 'ContextFullError':
      return new ContextFullError(message, options)
    default:
      return new KvasirError(code, message, options)
  }
}
