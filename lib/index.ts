/** Kvasir: transformer language models written as TypeScript classes, run by native kernels. */

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
  DeviceError,
  DisposedError,
  DTypeError,
  type ErrorCode,
  KvasirError,
  NumericError,
  OutOfMemoryError,
  ShapeError,
} from './errors.js'
export {
  type Completion,
  estimateMemory,
  type FinishReason,
  type GenerateOptions,
  LanguageModel,
  type LoadOptions,
  loadModel,
  type MemoryPlan,
  type NextToken,
  type Piece,
  type Usage,
} from './language-model.js'
export { Decoder, type DecoderConfig } from './models/decoder.js'
export { GPTNeo } from './models/gpt-neo.js'
export { GPT2 } from './models/gpt2.js'
export { Llama } from './models/llama.js'
export { type ModelClass, registerModel } from './models/registry.js'
