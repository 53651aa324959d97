import type { Graph } from '../graph/graph.js'
import type { CheckpointLayout, NamedParameter } from '../nn/index.js'
import type { TransferredError } from './error-transfer.js'

// What the caller's thread and the engine's worker say to each other. All of it is plain data.

export const weightTypes = ['auto', 'f32', 'f16', 'bf16', 'q8', 'q4'] as const
export type WeightDType = (typeof weightTypes)[number]
export const cacheTypes = ['auto', 'f32', 'f16', 'bf16', 'q8'] as const
/** `auto`: on the CPU f32, and f16 beside weights in blocks; on CUDA the type that it computes in. */
export type CacheDType = (typeof cacheTypes)[number]
export type DeviceChoice = 'auto' | 'cpu' | 'cuda'
export type DeviceKind = Exclude<DeviceChoice, 'auto'>

/** A model as the worker needs it: what was recorded from the user's classes, and where its weights are. */
export interface EngineSetup {
  folder: string
  graph: Graph
  parameters: NamedParameter[]
  rules: CheckpointLayout
  vocabSize: number
  /** Tokens that a sequence may have. */
  contextLength: number
  /** Ids that end a text. */
  eosIds: number[]
  dtype: WeightDType
  cacheDtype: CacheDType
  device: DeviceChoice
  /** The CUDA library to use, where it is not the one beside the addon. */
  cudaModule: string | undefined
  cudaIndex: number
  /** Steps that decoding may run ahead of what the caller has seen; the device's own number where undefined. */
  lookahead: number | undefined
  threads: number
  isa: string | undefined
  /** Only work out what the model would take. */
  planOnly: boolean
  /** `stop[0]` nonzero: leave whatever you do. Shared memory. */
  stop: Int32Array
}

/** What a model takes of a device's memory, in bytes. */
export interface MemoryPlan {
  device: DeviceKind
  /** Why it is not the GPU, where `auto` was asked for and chose the CPU; empty otherwise. */
  reason: string
  weightBytes: number
  /** The KV cache for a sequence of the whole context. */
  cacheBytes: number
  /** Results between layers, step tables and the kernels' work space, for the largest step. */
  activationBytes: number
  totalBytes: number
  availableBytes: number
  fits: boolean
}

/** What a loaded model says of itself. */
export interface EngineInfo {
  device: DeviceKind
  /** The processor's or GPU's own name. */
  deviceName: string
  /** Why it is not the GPU, where `auto` was asked for and chose the CPU; empty otherwise. */
  deviceReason: string
  /** The type that results have between layers. */
  activations: 'f32' | 'f16' | 'bf16'
  isa: string
  threads: number
  weightBytes: number
  cacheBytes: number
  activationBytes: number
  hasTokenizer: boolean
  /** The model's chat templates in Jinja by name, its usual one being `default`; empty where it has none. */
  chatTemplates: Record<string, string>
}

export interface SamplingOptions {
  temperature: number
  topK: number
  topP: number
  minP: number
  /** Low and high word. */
  seed: [number, number]
}

export type Prompt = string | number[]

/** One piece of a generated text. */
export interface Piece {
  /** The text that became certain with this token; '' while a character or a stop string is incomplete. */
  text: string
  id: number
  /** Natural logarithm of the token's probability under the model, before temperature and cuts. */
  logprob: number
}

export type FinishReason = 'stop' | 'length'

export interface Usage {
  promptTokens: number
  completionTokens: number
  /** Time between the request and its first step, in ms. */
  queueMs: number
  prefillMs: number
  decodeMs: number
}

/** The end of a generation. */
export interface Finished {
  finishReason: FinishReason
  usage: Usage
}

export interface NextToken {
  id: number
  text: string
  probability: number
  logprob: number
}

/** A request's own flag, in shared memory: `flag[0]` nonzero stops its work between two layers. */
interface Abortable {
  id: number
  flag: Int32Array
}

export interface GenerateRequest extends Abortable {
  type: 'generate'
  prompt: Prompt
  maxTokens: number
  stop: string[]
  ignoreEos: boolean
  sampling: SamplingOptions
}

export interface NextTokensRequest extends Abortable {
  type: 'nextTokens'
  prompt: Prompt
  top: number
}

export interface LogitsRequest extends Abortable {
  type: 'logits'
  prompt: Prompt
}

export interface TokenizeRequest extends Abortable {
  type: 'tokenize'
  text: string
  addSpecialTokens: boolean
}

export interface DetokenizeRequest extends Abortable {
  type: 'detokenize'
  ids: number[]
}

export type Request =
  | GenerateRequest
  | NextTokensRequest
  | LogitsRequest
  | TokenizeRequest
  | DetokenizeRequest

/** What each kind of request ends with. */
export interface Results {
  generate: Finished
  nextTokens: NextToken[]
  logits: { data: Float32Array; shape: [number, number] }
  tokenize: number[]
  detokenize: string
}

export type ToWorker = Request | { type: 'dispose' }

export type FromWorker =
  | { type: 'progress'; loadedBytes: number; totalBytes: number }
  | { type: 'planned'; plan: MemoryPlan }
  | { type: 'ready'; info: EngineInfo }
  | { type: 'unready'; error: TransferredError }
  | { type: 'pieces'; id: number; pieces: Piece[] }
  | { type: 'result'; id: number; result: Results[keyof Results] }
  | { type: 'error'; id: number; error: TransferredError }
