import { createRequire } from 'node:module'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { CheckpointProblem, ErrorCode } from '../errors.js'
import {
  AbortError,
  CheckpointError,
  DeviceError,
  DisposedError,
  DTypeError,
  KvasirError,
  NumericError,
  OutOfMemoryError,
  ShapeError,
} from '../errors.js'
import type { DType, Graph } from '../graph/graph.js'

// The only file that knows the addon's functions. native/binding/ is their other half.

export interface CpuInfo {
  /** The processor's own name. */
  name: string
  /** Instruction sets that this build has kernels for and this processor runs, the best first. */
  isas: string[]
  /** Processors this process may use: affinity and cgroup quota taken together. */
  processors: number
  /** Bytes that can be taken without swapping, within the cgroup's limit. */
  availableMemory: number
  blockTokens: number
}

/** One device's kernels and threads. */
export interface Backend {
  readonly isa: string
  readonly threads: number
  /** Floating-point operations a second that the threads reach on registers; for benchmarks. */
  probeFma(): number
  /** Bytes a second that the threads read from `bytes` of memory; for benchmarks. */
  probeRead(bytes: number): number
  dispose(): void
}

/** A tensor of a checkpoint file, as the file says. */
export interface TensorEntry {
  name: string
  /** As in the file: `F32`, `F16`, `BF16`, `I64`... */
  dtype: string
  shape: number[]
  bytes: number
}

export interface SafetensorsFile {
  tensors(): TensorEntry[]
  metadata(): Record<string, string>
  dispose(): void
}

/** Which part of a stored tensor to fill from which tensor of a file. */
export interface LoadPart {
  file: SafetensorsFile
  /** The tensor's name in the file. */
  tensor: string
  /** First row to fill. */
  rowOffset: number
  /** The file holds the transpose, (in, out), as GPT-2's Conv1D does. */
  transposed: boolean
  /** Set for interleaved projections: 0 fills the gate's panels, 1 the up projection's. */
  interleave?: 0 | 1
}

export interface WeightStore {
  declare(tensor: { name: string; dtype: DType; layout: 'rows' | 'panels'; rows: number; cols: number }): void
  /** Fills rows on the backend's threads. Returns false when the flag was raised on the way. */
  load(name: string, part: LoadPart, backend: Backend, abort: Int32Array | null): boolean
  loadValues(name: string, values: Float32Array): void
  /** Throws when a declared tensor has rows that were never loaded. */
  checkComplete(): void
  /** The values as f32, row-major; for tests. */
  copyOut(name: string): Float32Array
  readonly bytes: number
  dispose(): void
}

export interface KvCache {
  readonly bytes: number
  dispose(): void
}

export interface StepLimits {
  maxTokens: number
  maxRows: number
  maxSequences: number
  maxBlocks: number
}

export interface Program {
  /**
   * Runs one step on the calling thread and the backend's. Returns false when `abort[0]` became nonzero on the way;
   * outputs are then unchanged.
   */
  run(
    inputs: Record<string, Int32Array | Float32Array>,
    outputs: Record<string, Int32Array | Float32Array>,
    abort: Int32Array | null,
  ): boolean
  /** Bytes of address space its results and work space take; memory is used as far as steps reach. */
  readonly bytes: number
  dispose(): void
}

interface Addon {
  initialize(makeError: (code: ErrorCode, message: string, problem: CheckpointProblem) => Error): void
  cpuInfo(): CpuInfo
  Backend: new (options: { threads: number; isa?: string }) => Backend
  SafetensorsFile: new (path: string) => SafetensorsFile
  WeightStore: new () => WeightStore
  KvCache: new (options: {
    layers: { kvHeads: number; headSize: number }[]
    numBlocks: number
    dtype: 'f32' | 'bf16'
  }) => KvCache
  Program: new (
    backend: Backend,
    store: WeightStore,
    cache: KvCache | null,
    graph: Graph,
    limits: StepLimits,
    checked?: boolean,
  ) => Program
}

function makeError(code: ErrorCode, message: string, problem: CheckpointProblem): Error {
  switch (code) {
    case 'ERR_INVALID_ARG_TYPE':
      return Object.assign(new TypeError(message), { code })
    case 'ERR_INVALID_ARG_VALUE':
      return Object.assign(new RangeError(message), { code })
    case 'ERR_SHAPE':
      return new ShapeError(message)
    case 'ERR_DTYPE':
      return new DTypeError(message)
    case 'ERR_DEVICE':
      return new DeviceError(message)
    case 'ERR_OUT_OF_MEMORY':
      return new OutOfMemoryError(message)
    case 'ERR_NUMERIC':
      return new NumericError(message)
    case 'ERR_DISPOSED':
      return new DisposedError(message)
    case 'ERR_ABORTED':
      return new AbortError(message)
    case 'ERR_FILE_FORMAT':
    case 'ERR_FILE_TRUNCATED':
    case 'ERR_FILE_CHANGED':
    case 'ERR_FILE_NOT_FOUND':
    case 'ERR_UNSUPPORTED':
      return new CheckpointError(code, message, problem)
    default:
      return new KvasirError(code, message)
  }
}

let loaded: Addon | undefined

/** The native addon; loaded at the first call. @throws {DeviceError} when there is none for this machine. */
export function addon(): Addon {
  if (loaded) return loaded
  const require = createRequire(import.meta.url)
  const root = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..')
  try {
    const found = process.env.KVASIR_ADDON
      ? require(resolve(process.env.KVASIR_ADDON))
      : require('node-gyp-build')(root)
    found.initialize(makeError)
    loaded = found as Addon
  } catch (cause) {
    throw new DeviceError(
      `addon: no native module for ${process.platform}-${process.arch} could be loaded; ` +
        'run `npm rebuild kvasir` where a C++20 compiler, make and python3 are installed',
      { cause },
    )
  }
  return loaded
}
