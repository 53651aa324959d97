import { CheckpointError, invalidType, invalidValue } from '../errors.js'
import type { ModelOptions } from '../nn/index.js'
import { CausalLM } from '../nn/index.js'
import { Bloom } from './bloom.js'
import { malformed, unsupported } from './config.js'
import { Decoder } from './decoder.js'
import { Gemma } from './gemma.js'
import { Gemma2 } from './gemma2.js'
import { Gemma3 } from './gemma3.js'
import { GPTNeo } from './gpt-neo.js'
import { GPTNeoX } from './gpt-neox.js'
import { GPT2 } from './gpt2.js'
import { GPTJ } from './gptj.js'
import { Llama } from './llama.js'
import { Mistral } from './mistral.js'
import { Mixtral } from './mixtral.js'
import { Olmo2 } from './olmo2.js'
import { OPT } from './opt.js'
import { Phi3 } from './phi3.js'
import { Qwen2 } from './qwen2.js'
import { Qwen3 } from './qwen3.js'
import { Qwen3Moe } from './qwen3-moe.js'
import { SmolLM3 } from './smollm3.js'

/** A class of models, made from what its `readConfig` gives. */
export interface ModelClass {
  // biome-ignore lint/suspicious/noExplicitAny: a class with its own config must fit, and parameters are contravariant
  new (config: any): CausalLM<unknown>
  readConfig(json: Record<string, unknown>, options?: ModelOptions): unknown
}

/** A row a family: the `model_type` of its config.json, and its class. */
const families = new Map<string, ModelClass>([
  ['bloom', Bloom],
  ['gemma', Gemma],
  ['gemma2', Gemma2],
  ['gemma3', Gemma3],
  ['gemma3_text', Gemma3],
  ['gpt2', GPT2],
  ['gpt_neo', GPTNeo],
  ['gpt_neox', GPTNeoX],
  ['gptj', GPTJ],
  ['kvasir_decoder', Decoder],
  ['llama', Llama],
  ['mistral', Mistral],
  ['mixtral', Mixtral],
  ['olmo2', Olmo2],
  ['opt', OPT],
  ['phi3', Phi3],
  ['qwen2', Qwen2],
  ['qwen3', Qwen3],
  ['qwen3_moe', Qwen3Moe],
  ['smollm3', SmolLM3],
])

/**
 * Makes checkpoints of a `model_type` load as a class of one's own. A known type is replaced.
 *
 * The class gets what its static `readConfig` makes of config.json, or config.json as it is where it has none.
 *
 * @param modelType as in config.json
 * @param Model a class that extends `CausalLM`
 * @throws {TypeError} when they are something else
 * @throws {RangeError} when modelType is empty
 * @example
 * class MyModel extends CausalLM<MyConfig> { ... }
 * registerModel('my_type', MyModel)
 * const model = await loadModel('my-checkpoint')
 */
export function registerModel(modelType: string, Model: ModelClass): void {
  if (typeof modelType !== 'string') throw invalidType('registerModel: modelType', 'a string', modelType)
  if (modelType === '') throw invalidValue('registerModel: modelType', 'a name', modelType)
  if (typeof Model !== 'function' || !(Model.prototype instanceof CausalLM))
    throw invalidType('registerModel: Model', 'a class that extends CausalLM', Model)
  families.set(modelType, Model)
}

/**
 * The model that a config.json describes, without weights.
 *
 * @param json what the file holds, parsed
 * @throws {CheckpointError} when its `model_type` is not known, or a field is malformed or not supported
 */
export function modelFor(json: unknown, options: ModelOptions = {}): CausalLM<unknown> {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new CheckpointError('ERR_FILE_FORMAT', 'config.json: its content must be an object', {
      file: 'config.json',
    })
  const config = json as Record<string, unknown>
  const { model_type: modelType } = config
  const known = `one of ${[...families.keys()].sort().join(', ')}`
  if (typeof modelType !== 'string') throw malformed('model_type', known, modelType)
  const Model = families.get(modelType)
  if (!Model) throw unsupported('model_type', known, modelType, `; ${ownClassHint(modelType)}`)
  if (config.quantization_config != null)
    throw unsupported('quantization_config', 'absent', config.quantization_config)
  return new Model(Model.readConfig(config, options))
}

function ownClassHint(modelType: string): string {
  const shown = /^[\w.-]{1,40}$/.test(modelType) ? modelType : 'my_type'
  return `a class of your own is added by registerModel('${shown}', MyModel)`
}
