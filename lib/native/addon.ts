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
import type { DType, Graph, WeightLayout } from '../graph/graph.js'

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

export interface CudaDevice {
  name: string
  /** Compute capability: 90 for 9.0. */
  architecture: number
  multiprocessors: number
  /** Bytes. */
  memory: number
  freeMemory: number
  /** The newest CUDA version that the driver knows: 13000 for 13.0. */
  driver: number
}

export interface CudaInfo {
  /** Why there are no devices, in words; empty where there are some. */
  reason: string
  devices: CudaDevice[]
}

/** Which kernels to run: the CPU's, or those of a CUDA library (the one beside the addon unless `module` is given). */
export type BackendOptions =
  | { device?: 'cpu'; threads: number; isa?: string }
  | { device: 'cuda'; threads: number; module?: string; index?: number }

/** One device's kernels, and threads of the processor. */
export interface Backend {
  /** The instruction set, or the GPU's architecture (`sm_90`). */
  readonly isa: string
  /** The processor's or the GPU's own name. */
  readonly name: string
  readonly threads: number
  /** Bytes that can still be taken for weights. */
  availableMemory(): number
  /** Operations a second that the threads reach on registers, a multiply-add being two; for benchmarks. */
  probeArithmetic(type: 'f32' | 'bf16' | 'int8'): number
  /** Bytes a second that the threads read from `bytes` of memory; for benchmarks. */
  probeRead(bytes: number): number
  dispose(): void
}

/** A tensor of a checkpoint file, as the file says. */
export interface TensorEntry {
  name: string
  /** As in the file: `F32`, `F16`, `BF16`, `I64`, `Q4_K`... */
  dtype: string
  shape: number[]
  bytes: number
}

/** An array in a GGUF file's metadata, to be read by `array(key)`. */
export interface MetadataArray {
  elements: 'string' | 'number'
  length: number
}

export type MetadataValue = string | number | boolean | MetadataArray

/** A safetensors or GGUF file whose header was checked. */
export interface CheckpointFile {
  readonly format: 'safetensors' | 'gguf'
  tensors(): TensorEntry[]
  metadata(): Record<string, MetadataValue>
  /** The elements of a GGUF file's array; booleans are 0 and 1. */
  array(key: string): string[] | Float64Array
  /** The numbers of a small tensor of type F32. */
  floats(tensor: string): Float32Array
  dispose(): void
}

/** Which part of a stored tensor to fill from which tensor of a file. */
export interface LoadPart {
  file: CheckpointFile
  /** The tensor's name in the file. */
  tensor: string
  /** First row to fill. */
  rowOffset: number
  /** The file holds the transpose, (in, out), as GPT-2's Conv1D does. */
  transposed: boolean
  /** Rows of a head whose halves the file holds in turn, as GGUF files of LLaMA do in q and k. */
  pairedRows?: number
  /** Which of the tensor's rows, in runs of `run` that begin `stride` rows apart; all of them where it is not set. */
  rows?: { first: number; count: number; run: number; stride: number }
  /** How many rows are filled, those after the tensor's with zeros; as many as it has where it is not set. */
  filledRows?: number
  /** Added to every number; only of f32 in rows. */
  addend?: number
  /** Set for interleaved projections: 0 fills the gate's rows, 1 the up projection's. */
  interleave?: 0 | 1
}

export interface WeightStore {
  declare(tensor: { name: string; dtype: DType; layout: WeightLayout; rows: number; cols: number }): void
  /** Fills rows on the backend's threads. Returns false when the flag was raised on the way. */
  load(name: string, part: LoadPart, backend: Backend, abort: Int32Array | null): boolean
  loadValues(name: string, values: Float32Array): void
  /** Throws when a declared tensor has rows that were never loaded. */
  checkComplete(): void
  /** The values as f32, row-major; for tests. */
  copyOut(name: string): Float32Array
  /** The bytes of a weight in rows, in the host's memory. */
  copyBytes(name: string): Uint8Array
  readonly bytes: number
  dispose(): void
}

export interface KvCache {
  readonly bytes: number
  /**
   * Copies whole blocks of every layer, pair by pair: (from, to), `to` being another block. After the steps that were
   * run, before those that will be.
   */
  copyBlocks(pairs: Int32Array): void
  dispose(): void
}

export interface StepLimits {
  maxTokens: number
  maxRows: number
  maxSequences: number
  maxBlocks: number
  /** Edits and masks of a step's logits; 0 by default. */
  maxEdits?: number
  maxMasks?: number
}

export interface Program {
  /**
   * Runs one step on the calling thread and the backend's. Returns false when `abort[0]` became nonzero on the way;
   * outputs are then unchanged. A row of logits without a token that could be chosen has id -1 and logprob NaN.
   */
  run(
    inputs: Record<string, Int32Array | Float32Array>,
    outputs: Record<string, Int32Array | Float32Array>,
    abort: Int32Array | null,
  ): boolean
  /**
   * Runs up to `count` steps of a program that samples, each with the tokens that the one before it sampled; `inputs`
   * has one token a sequence. `ids` and `logprobs` take (count, S). Returns the number of steps that ran before
   * `abort[0]` became nonzero, or up to the first in which a row has no token (id -1): what follows it in `ids` means
   * nothing.
   */
  runAhead(
    inputs: Record<string, Int32Array | Float32Array>,
    count: number,
    outputs: { ids: Int32Array; logprobs: Float32Array },
    abort: Int32Array | null,
  ): number
  /** Bytes of address space its results and work space take; memory is used as far as steps reach. */
  readonly bytes: number
  dispose(): void
}

/** The heads of one attention layer's keys and values. */
export interface KvLayer {
  kvHeads: number
  headSize: number
}

export interface CacheOptions {
  layers: KvLayer[]
  numBlocks: number
  dtype: 'f32' | 'f16' | 'bf16' | 'q8'
}

interface Addon {
  initialize(makeError: (code: ErrorCode, message: string, problem: CheckpointProblem) => Error): void
  cpuInfo(): CpuInfo
  cudaInfo(module?: string): CudaInfo
  /** What a program with its weights and cache takes, before anything is allocated. In bytes. */
  planMemory(
    backend: Backend,
    graph: Graph,
    limits: StepLimits,
    cache: CacheOptions,
  ): { weightBytes: number; cacheBytes: number; activationBytes: number }
  Backend: new (options: BackendOptions) => Backend
  CheckpointFile: new (path: string) => CheckpointFile
  /** In the backend's memory; the machine's own where none is given. */
  WeightStore: new (
    backend?: Backend,
  ) => WeightStore
  KvCache: new (backend: Backend, options: CacheOptions) => KvCache
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

/** The package that carries a built CUDA library, for those who install it. */
const cudaPackage = `kvasir-cuda-${process.platform}-${process.arch}`

/**
 * The CUDA library to open: `KVASIR_CUDA_MODULE`, else that of the optional package. Undefined where there is neither:
 * then the one that was built beside the addon, if it was.
 */
export function cudaModule(): string | undefined {
  if (process.env.KVASIR_CUDA_MODULE) return resolve(process.env.KVASIR_CUDA_MODULE)
  try {
    return createRequire(import.meta.url).resolve(`${cudaPackage}/kvasir-cuda.so`)
  } catch {
    return undefined
  }
}

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
