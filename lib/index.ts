/** Kvasir: transformer language models written as TypeScript classes, run by native kernels. */

export type { ChatMessage, ChatPiece, ChatTool, ToolCall } from './chat/index.js'
export { type ChatAnswer, ChatStream } from './chat-stream.js'
export type { Converted } from './checkpoint/convert.js'
export type {
  Constraint,
  FromSchema,
  JsonSchema,
  JsonSchemaObject,
  JsonType,
  JsonValue,
} from './constraints/index.js'
export { type ConvertOptions, convertModel } from './convert-model.js'
export {
  AbortError,
  CheckpointError,
  type CheckpointProblem,
  ConstraintError,
  ContextFullError,
  DeadlineError,
  DeviceError,
  DisposedError,
  DTypeError,
  type ErrorCode,
  HubError,
  KvasirError,
  NumericError,
  OutOfMemoryError,
  ShapeError,
  TemplateError,
} from './errors.js'
export { type PullOptions, type PullProgress, pull } from './hub/index.js'
export {
  type ChatOptions,
  type Choice,
  type CompleteOptions,
  type Completion,
  type ConstraintValue,
  type EmbedOptions,
  estimateMemory,
  type FinishReason,
  type GenerateOptions,
  LanguageModel,
  type LoadOptions,
  loadModel,
  type MemoryPlan,
  type NextToken,
  type Piece,
  type PromptToken,
  type RequestOptions,
  type Stats,
  type Usage,
} from './language-model.js'
export { Decoder, type DecoderConfig } from './models/decoder.js'
export { GPTNeo } from './models/gpt-neo.js'
export { GPT2 } from './models/gpt2.js'
export { Llama } from './models/llama.js'
export { type ModelClass, registerModel } from './models/registry.js'
export type { Sequence } from './sequence.js'
export type { Activation, LensToken, LogitLens, Trace } from './trace/index.js'
