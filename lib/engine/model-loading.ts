import { Checkpoint } from '../checkpoint/checkpoint.js'
import { bytesToLoad, declareWeights, loadWeights } from '../checkpoint/load-weights.js'
import type { MatchedTensor } from '../checkpoint/match.js'
import { matchParameters } from '../checkpoint/match.js'
import { AbortError, KvasirError } from '../errors.js'
import type { DType } from '../graph/graph.js'
import { optimize, withSampling } from '../graph/passes/index.js'
import type { Backend, WeightStore } from '../native/addon.js'
import { addon } from '../native/addon.js'
import { attentionLayers } from './attention-layers.js'
import type { DevicePlan, PlannedModel } from './device.js'
import { devicePlans, planMemory, shortage } from './device.js'
import type { EngineSetup, MemoryPlan } from './messages.js'
import type { RunnerLimits } from './model-runner.js'
import { ModelRunner } from './model-runner.js'

/** Rows of a step beside one a sequence: of tokens that are verified, and of a prompt's own log probabilities. */
const spareRows = 128

/** A model's setup with its files, open. */
export interface ModelFiles {
  setup: EngineSetup
  tensors: ReadonlyMap<string, MatchedTensor>
  limits: RunnerLimits
}

/** A model, and the one that guesses its tokens where there is one. */
export type Models<T> = [model: T, ...draft: T[]]

/** A device with room for models, and the models as it wants them. */
export interface OpenDevice {
  backend: Backend
  plan: DevicePlan
  models: Models<ModelFiles & PlannedModel>
  memory: MemoryPlan
}

/** A model that can run once its weights are read. */
export interface OpenModel {
  runner: ModelRunner
  store: WeightStore
}

/** Opens the files of a setup's models for as long as `body` takes. */
export async function withFiles<R>(
  setup: EngineSetup,
  body: (files: Models<ModelFiles>) => R | Promise<R>,
): Promise<R> {
  const { stepTokens: tokens, maxSequences: sequences } = setup
  const limits = { tokens, sequences, rows: sequences + spareRows }
  return withCheckpoint(setup, limits, (model) => {
    if (!setup.draft) return body([model])
    const draft = { ...setup, ...setup.draft, draft: undefined }
    return withCheckpoint(draft, { ...limits, rows: sequences }, (files) => body([model, files]))
  })
}

async function withCheckpoint<R>(
  setup: EngineSetup,
  limits: RunnerLimits,
  body: (files: ModelFiles) => R | Promise<R>,
): Promise<R> {
  const checkpoint = await Checkpoint.open(setup.folder)
  try {
    return await body({ setup, tensors: matchParameters(checkpoint, setup.parameters, setup.rules), limits })
  } finally {
    checkpoint.close()
  }
}

/** The first device that has room for the models. */
export function openDevice(files: Models<ModelFiles>): OpenDevice {
  const plans = files.map(({ setup, tensors }) => devicePlans(setup, storedTypes(tensors)))
  let reason = ''
  for (const [i, plan] of plans[0]!.entries()) {
    const last = i === plans[0]!.length - 1
    try {
      const backend = new (addon().Backend)(plan.backend)
      const models = files.map((one, m) => planned(one, plans[m]![i]!)) as OpenDevice['models']
      const memory = planMemory(backend, models)
      memory.reason ||= reason
      if (last || memory.fits) return { backend, plan: { ...plan, reason: memory.reason }, models, memory }
      reason = shortage(memory, backend)
      backend.dispose()
    } catch (error) {
      if (last) throw error
      reason = (error as Error).message
    }
  }
  throw new KvasirError('ERR_INTERNAL', 'loadModel: no device')
}

function storedTypes(tensors: ModelFiles['tensors']): (parameter: string) => DType {
  return (parameter) => tensors.get(parameter)?.dtype ?? 'f32'
}

function planned(files: ModelFiles, plan: DevicePlan): ModelFiles & PlannedModel {
  return { ...files, plan, program: optimize(withSampling(files.setup.graph), plan.options) }
}

/** Allocates all that the models take, so that nothing fails half way for want of memory. */
export function openModels({ backend, models, memory }: OpenDevice): Models<OpenModel> {
  return models.map(({ setup, plan, program, limits }) => {
    const store = declareWeights(program, backend)
    const runner = new ModelRunner({
      backend,
      store,
      graph: setup.graph,
      layout: plan.options,
      layers: attentionLayers(setup.graph),
      vocabSize: setup.vocabSize,
      contextLength: setup.contextLength,
      cacheDtype: plan.cacheDtype,
      numBlocks: memory.cacheBlocks,
      limits,
    })
    runner.prepare(program)
    return { runner, store }
  }) as Models<OpenModel>
}

/**
 * Reads the models' weights.
 *
 * @throws {AbortError} when `abort` was raised
 */
export function readWeights(
  { backend, models }: OpenDevice,
  open: Models<OpenModel>,
  abort: Int32Array,
  onProgress: (loadedBytes: number, totalBytes: number) => void,
): void {
  const bytes = models.map(({ program, tensors }) => bytesToLoad(program, tensors))
  const total = bytes.reduce((sum, own) => sum + own, 0)
  let before = 0
  for (const [i, { program, tensors }] of models.entries()) {
    const onOwnProgress = (loaded: number) => onProgress(before + loaded, total)
    if (!loadWeights(open[i]!.store, program, tensors, { backend, abort, onProgress: onOwnProgress }))
      throw new AbortError('loadModel: aborted')
    before += bytes[i]!
  }
}
