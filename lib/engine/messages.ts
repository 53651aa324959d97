import type { Constraint } from '../constraints/index.js'
import type { Graph } from '../graph/graph.js'
import type { CheckpointLayout, NamedParameter } from '../nn/index.js'
import type { TransferredError } from './error-transfer.js'
import type { Penalties } from './logit-edits.js'
import type { PieceColumns } from './piece-columns.js'

// What the caller's thread and the engine's worker say to each other. All of it is plain data.

export const weightTypes = ['auto', 'f32', 'f16', 'bf16', 'q8', 'q4'] as const
export type WeightDType = (typeof weightTypes)[number]
export const cacheTypes = ['auto', 'f32', 'f16', 'bf16', 'q8'] as const
/** `auto`: on the CPU f32, and f16 beside weights in blocks; on CUDA the type that it computes in. */
export type CacheDType = (typeof cacheTypes)[number]
export type DeviceChoice = 'auto' | 'cpu' | 'cuda'
export type DeviceKind = Exclude<DeviceChoice, 'auto'>

/** A model as the worker needs it: what was recorded from the user's classes, and where its weights are. */
export interface ModelSetup {
  folder: string
  graph: Graph
  parameters: NamedParameter[]
  rules: CheckpointLayout
  /** Tokens that a sequence may have. */
  contextLength: number
  dtype: WeightDType
}

/** All that the worker needs to load a model and to serve it. */
export interface EngineSetup extends ModelSetup {
  /** A smaller model that guesses tokens. */
  draft: ModelSetup | undefined
  vocabSize: number
  /** Ids that end a text. */
  eosIds: number[]
  cacheDtype: CacheDType
  device: DeviceChoice
  /** The CUDA library to use, where it is not the one beside the addon. */
  cudaModule: string | undefined
  cudaIndex: number
  /** Bytes of the KV cache; a share of what is free where undefined. */
  cacheBytes: number | undefined
  /** Sequences of a step. */
  maxSequences: number
  /** Tokens of a step, and tokens of prompts in a step in which others are continued. */
  stepTokens: number
  promptTokens: number
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
  /** The KV cache of all sequences. */
  cacheBytes: number
  /** Its blocks. */
  cacheBlocks: number
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
  /** The texts of tokens that a tokenizer never finds in plain text. */
  specialTokens: string[]
  /** Those that begin and end a text. */
  bosToken: string | null
  eosToken: string | null
}

/** Entries of a `logitBias`. */
export const mostBiases = 1024

export interface SamplingOptions {
  temperature: number
  topK: number
  typicalP: number
  topP: number
  minP: number
  /** Low and high word. */
  seed: [number, number]
}

/** Text, ids, or a rendered chat: its special tokens are meant, but where the mark is within one. */
export type Prompt = string | number[] | { rendered: string; mark: string }

/** A token that might have been chosen. */
export interface Alternative {
  id: number
  text: string
  /** As `Piece.logprob`. */
  logprob: number
}

/** One piece of a generated text. */
export interface Piece {
  /** The text that became certain with this token; '' while a character or a stop string is incomplete. */
  text: string
  id: number
  /**
   * Natural logarithm of the token's probability under the model, before temperature, penalties and cuts. 0 for a token
   * that a constraint left no choice about, which the model was not asked for.
   */
  logprob: number
  /** Which of `n` texts it belongs to, from 0. */
  choice: number
  /** The likeliest tokens in its place, the first first, where `logprobs` asked for them. */
  top?: Alternative[]
}

/** A prompt's token as the model saw it coming. */
export interface PromptToken extends Alternative {
  /** The likeliest tokens in its place, the first first. */
  top: Alternative[]
}

export type FinishReason = 'stop' | 'length'

export interface Usage {
  promptTokens: number
  /** Of the prompt's tokens, those whose keys and values were in the cache already. */
  cachedTokens: number
  /** Of all texts together. */
  completionTokens: number
  /** Time between the request and its first step, in ms. */
  queueMs: number
  /** Until the first token was there. */
  prefillMs: number
  decodeMs: number
  /** Tokens that were guessed and then verified in one step, and how many of them were right. */
  draftedTokens: number
  acceptedTokens: number
}

/** How one text ended. */
export interface FinishedChoice {
  finishReason: FinishReason
  /** Sum of its tokens' logprobs. */
  logprob: number
}

/** The end of a generation. */
export interface Finished {
  choices: FinishedChoice[]
  usage: Usage
  /** Of the prompt's tokens but the first, where they were asked for. */
  promptTokens: PromptToken[] | undefined
}

export interface NextToken {
  id: number
  text: string
  probability: number
  logprob: number
}

/** How often a value fell into each of a few ranges, as metrics systems count them. */
export interface Histogram {
  /** Upper bounds, inclusive; the last range has none. */
  bounds: number[]
  /** One more than there are bounds. */
  counts: number[]
  sum: number
}

/** What the engine did since the model was loaded, and does now. */
export interface Stats {
  /** Sequences that have their place in the cache, and that wait for one. */
  running: number
  waiting: number
  /** Requests that were answered, and that ended otherwise. */
  completed: number
  aborted: number
  failed: number
  steps: number
  /** Tokens of prompts that were fed, and that were in the cache already. */
  promptTokens: number
  cachedTokens: number
  generatedTokens: number
  /** Tokens that were guessed and verified, and that were right. */
  draftedTokens: number
  acceptedTokens: number
  /** What guessing gained. */
  speculation: {
    /** Steps that continued texts and verified guesses. */
    steps: number
    /** Milliseconds that the draft model took, where there is one; the blocks of its cache that are in use. */
    draftingMs: number
    draftBlocks: number
    /** Milliseconds that the tokens of those steps would have taken one at a time, by what such steps took, less what they took. */
    savedMs: number
  }
  /** How often a sequence had to give its blocks back for another. */
  preemptions: number
  cache: { blocks: number; usedBlocks: number; blockTokens: number; bytes: number }
  /** Milliseconds. */
  queueMs: Histogram
  firstTokenMs: Histogram
  /** Between two tokens of one text. */
  interTokenMs: Histogram
  stepMs: Histogram
  /** Of all steps: what native code took, and what the engine's own did. */
  nativeMs: number
  engineMs: number
}

/**
 * A request's own flags, in shared memory: `flag[0]` nonzero ends it, `flag[1]` nonzero lets it wait for its reader.
 */
interface Abortable {
  id: number
  flag: Int32Array
}
export const flags = { stop: 0, pause: 1, count: 2 } as const

export interface GenerateRequest extends Abortable {
  type: 'generate'
  prompt: Prompt
  maxTokens: number
  stop: string[]
  ignoreEos: boolean
  /** Whether special tokens appear in the text; those that end it never do. */
  keepsSpecial: boolean
  sampling: SamplingOptions
  penalties: Penalties
  /** (id, what is added to its logit) */
  logitBias: [number, number][]
  /** Texts. */
  samples: number
  /** Texts that a beam search keeps; 0 for none. */
  beams: number
  /** Alternatives to tell of each token; undefined: no wish. */
  top: number | undefined
  /** The same for the prompt's tokens. */
  promptTop: number | undefined
  constraint: Constraint | undefined
  /** Whether to guess tokens from what was there before. */
  speculates: boolean
  priority: number
  salt: string
  reusesPrefix: boolean
}

export interface NextTokensRequest extends Abortable {
  type: 'nextTokens'
  prompt: Prompt
  top: number
  priority: number
  salt: string
  reusesPrefix: boolean
}

export interface LogitsRequest extends Abortable {
  type: 'logits'
  prompt: Prompt
  priority: number
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

export type Pooling = 'mean' | 'last'

export interface EmbedRequest extends Abortable {
  type: 'embed'
  prompts: Prompt[]
  pooling: Pooling
  normalize: boolean
  priority: number
}

/** Something done with a sequence that the caller keeps. */
export interface SequenceRequest extends Abortable {
  type: 'sequence'
  sequence: number
  action:
    | { do: 'create'; ids: number[] }
    | { do: 'append'; ids: number[] }
    | { do: 'fork'; as: number }
    | { do: 'truncate'; length: number }
    | { do: 'logits' }
    | { do: 'dispose' }
}

/** Runs a graph of the model, with outputs of its own choice, over a prompt. */
export interface GraphRequest extends Abortable {
  type: 'graph'
  prompt: Prompt
  graph: Graph
  /** Of its outputs those that are wanted. */
  outputs: string[]
  priority: number
}

export interface StatsRequest extends Abortable {
  type: 'stats'
}

export type Request =
  | GenerateRequest
  | EmbedRequest
  | GraphRequest
  | DisplayRequest
  | SequenceRequest
  | StatsRequest
  | NextTokensRequest
  | LogitsRequest
  | TokenizeRequest
  | DetokenizeRequest

/** How tokens are shown to people. */
export interface DisplayRequest extends Abortable {
  type: 'display'
  ids: number[]
}

export interface GraphResult {
  ids: number[]
  /** The tokens, for people to read. */
  tokens: string[]
  /** (tokens, width) each, by the outputs' names. */
  outputs: Record<string, { data: Float32Array; shape: [number, number] }>
}

/** What each kind of request ends with. */
export interface Results {
  generate: Finished
  embed: { data: Float32Array; shape: [number, number]; promptTokens: number }
  sequence: { length: number; logits?: Float32Array }
  stats: Stats
  graph: GraphResult
  display: string[]
  nextTokens: NextToken[]
  logits: { data: Float32Array; shape: [number, number] }
  tokenize: number[]
  detokenize: string
}

/** `wake`: a flag has changed. */
export type ToWorker = Request | { type: 'wake' } | { type: 'dispose' }

export type FromWorker =
  | { type: 'progress'; loadedBytes: number; totalBytes: number }
  | { type: 'planned'; plan: MemoryPlan }
  | { type: 'ready'; info: EngineInfo }
  | { type: 'unready'; error: TransferredError }
  | { type: 'pieces'; columns: PieceColumns }
  | { type: 'result'; id: number; result: Results[keyof Results] }
  | { type: 'error'; id: number; error: TransferredError }
