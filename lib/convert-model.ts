import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Checkpoint } from './checkpoint/checkpoint.js'
import type { Converted, PlannedTensor, WriteOptions } from './checkpoint/convert.js'
import { copyOthers, writeConverted } from './checkpoint/convert.js'
import { isGgufFile } from './checkpoint/gguf/gguf-files.js'
import { matchParameters } from './checkpoint/match.js'
import { readModelConfig } from './checkpoint/model-config.js'
import { checkChoice, checkInteger, checkOptions, checkSignal } from './engine/generate-options.js'
import { weightTypes } from './engine/messages.js'
import { CheckpointError, invalidType, invalidValue } from './errors.js'
import type { DType } from './graph/graph.js'
import { optimize } from './graph/passes/index.js'
import { modelFor } from './models/registry.js'
import { parameters, record } from './nn/index.js'

export interface ConvertOptions extends WriteOptions {
  /** What matrices are to be held in. */
  dtype: Exclude<DType, 'i32'>
}

/**
 * Writes a model whose matrices are held in another type to a new folder in Hugging Face layout, which loads without
 * being converted again: one safetensors file, and what else the old folder has.
 *
 * @throws {CheckpointError} when the model cannot be read
 * @throws {RangeError} when the new folder holds something
 */
export async function convertModel(
  source: string,
  target: string,
  options: ConvertOptions,
): Promise<Converted> {
  checkArguments(source, target, options)
  if (await isGgufFile(source)) {
    const message = `convert: ${source} is a GGUF file, whose types are kept as they are when it is loaded`
    throw new CheckpointError('ERR_UNSUPPORTED', message, { file: source })
  }
  if ((await readdir(target).catch(() => [])).length > 0)
    throw invalidValue('convert: the new folder', 'empty or not there', target)
  const unfinished = `${target.replace(/[\\/]+$/, '')}.unfinished`
  await rm(unfinished, { recursive: true, force: true })
  await mkdir(unfinished, { recursive: true })
  const checkpoint = await Checkpoint.open(source).catch(async (error) => {
    await rm(unfinished, { recursive: true, force: true })
    throw error
  })
  try {
    const planned = await planTensors(source, checkpoint, options.dtype)
    const converted = await writeConverted(join(unfinished, 'model.safetensors'), planned, options)
    await copyOthers(source, unfinished)
    await rm(target, { recursive: true, force: true })
    await rename(unfinished, target)
    return converted
  } finally {
    checkpoint.close()
    await rm(unfinished, { recursive: true, force: true })
  }
}

function checkArguments(source: unknown, target: unknown, options: ConvertOptions): void {
  for (const [name, folder] of Object.entries({ source, target }))
    if (typeof folder !== 'string') throw invalidType(`convert: ${name}`, 'a string', folder)
  if (target === '') throw invalidValue('convert: target', 'the name of a folder', target)
  checkOptions('convert', options)
  if (options.dtype === undefined) throw invalidType('convert: dtype', 'a string', options.dtype)
  checkChoice('convert: dtype', options.dtype, weightTypes.slice(1)) // but `auto`
  checkInteger('convert: threads', options.threads, 1, 1024)
  checkSignal('convert: signal', options.signal)
  if (options.onProgress !== undefined && typeof options.onProgress !== 'function')
    throw invalidType('convert: onProgress', 'a function', options.onProgress)
}

/** Every parameter's tensor with the type that loading with `dtype` would hold it in; vectors as they are. */
async function planTensors(
  folder: string,
  checkpoint: Checkpoint,
  dtype: Exclude<DType, 'i32'>,
): Promise<PlannedTensor[]> {
  const { config } = await readModelConfig('convert', folder)
  const model = modelFor(config)
  const tensors = matchParameters(checkpoint, parameters(model), model.checkpoint)
  const storedTypes = (path: string) => tensors.get(path)?.dtype ?? 'f32'
  const planned = new Map<string, PlannedTensor>()
  for (const value of optimize(record(model), { dtype, storedTypes }).values) {
    if (value.kind !== 'weight') continue
    for (const { parameter } of value.parts ?? []) {
      const tensor = tensors.get(parameter)!
      // A tensor of several parameters is written once.
      planned.set(tensor.entry.name, { tensor, dtype: value.shape.length === 2 ? value.dtype : tensor.dtype })
    }
  }
  return [...planned.values()]
}
