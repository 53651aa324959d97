import { invalidValue, OutOfMemoryError } from '../errors.js'
import type { DType, FloatType, Graph } from '../graph/graph.js'
import { blockTokens, isBlocked } from '../graph/graph.js'
import type { OptimizeOptions } from '../graph/passes/index.js'
import type { Backend, BackendOptions } from '../native/addon.js'
import { addon } from '../native/addon.js'
import { attentionLayers } from './attention-layers.js'
import type { CacheDType, DeviceKind, EngineSetup, MemoryPlan } from './messages.js'
import type { RunnerLimits } from './model-runner.js'
import { stepLimits } from './model-runner.js'
import { blocksFor } from './step-tables.js'

/** Tokens that run ahead of the caller where nothing else is asked for: a GPU's steps are shorter than a round trip. */
const defaultLookahead = { cpu: 1, cuda: 8 } as const

/** How a model is to run: on which device, in which types. */
export interface DevicePlan {
  kind: DeviceKind
  /** Why it is not the GPU, where `auto` chose the CPU. */
  reason: string
  backend: BackendOptions
  options: OptimizeOptions
  activations: 'f32' | 'f16' | 'bf16'
  cacheDtype: Exclude<CacheDType, 'auto'>
  lookahead: number
}

/**
 * The devices to try, in order. What `auto` takes last is always the CPU.
 *
 * @throws {DeviceError} when the device that was asked for is not there
 */
export function devicePlans(setup: EngineSetup, storedTypes: (parameter: string) => DType): DevicePlan[] {
  const cpu = (reason: string): DevicePlan => ({
    kind: 'cpu',
    reason,
    backend: { device: 'cpu', threads: setup.threads, isa: setup.isa },
    options: { dtype: setup.dtype, storedTypes, roundOperands: setup.dtype === 'bf16' },
    activations: 'f32',
    cacheDtype: cacheType(setup.cacheDtype, hasBlocks(setup, storedTypes) ? 'f16' : 'f32'),
    lookahead: setup.lookahead ?? defaultLookahead.cpu,
  })
  if (setup.device === 'cpu') return [cpu('')]
  const { reason } = addon().cudaInfo(setup.cudaModule)
  if (setup.device === 'auto' && reason !== '') return [cpu(reason)]
  const type = computeType(setup.dtype, setup.graph, storedTypes)
  const dtype = hasBlocks(setup, storedTypes) ? setup.dtype : type
  const cuda: DevicePlan = {
    kind: 'cuda',
    reason: '',
    backend: { device: 'cuda', threads: setup.threads, module: setup.cudaModule, index: setup.cudaIndex },
    options: { dtype, floatType: type, activations: type, matrixLayout: 'tiles', storedTypes },
    activations: type,
    cacheDtype: cacheType(setup.cacheDtype, type),
    lookahead: setup.lookahead ?? defaultLookahead.cuda,
  }
  return setup.device === 'cuda' ? [cuda] : [cuda, cpu('')]
}

/** What a GPU computes in: bf16, unless something else was asked for or all matrices are stored as f16. */
function computeType(
  dtype: EngineSetup['dtype'],
  graph: Graph,
  storedTypes: (parameter: string) => DType,
): FloatType {
  if (dtype !== 'auto' && !isBlocked(dtype)) return dtype
  const matrices = graph.values.filter((value) => value.kind === 'weight' && value.shape.length === 2)
  const types = new Set(
    matrices.flatMap(({ parts }) => parts!.map(({ parameter }) => storedTypes(parameter))),
  )
  return types.size === 1 && types.has('f16') ? 'f16' : 'bf16'
}

/** Whether matrices are held in blocks. */
function hasBlocks(setup: EngineSetup, storedTypes: (parameter: string) => DType): boolean {
  if (setup.dtype !== 'auto') return isBlocked(setup.dtype)
  const parts = setup.graph.values.flatMap((value) => value.parts ?? [])
  return parts.some(({ parameter }) => isBlocked(storedTypes(parameter)))
}

function cacheType(asked: CacheDType, automatic: FloatType): Exclude<CacheDType, 'auto'> {
  return asked === 'auto' ? automatic : asked
}

/** Of the memory that weights and activations leave free, what the KV cache takes where nothing else was asked for. */
const cacheShare = { cpu: 0.25, cuda: 0.8 } as const

/** A model and its program, as a device wants it. */
export interface PlannedModel {
  setup: EngineSetup
  plan: DevicePlan
  /** The program that samples. */
  program: Graph
  limits: RunnerLimits
}

/** What a model, and the one that guesses its tokens where there is one, take on the device; their caches have as many blocks. */
export function planMemory(backend: Backend, models: readonly [PlannedModel, ...PlannedModel[]]): MemoryPlan {
  const [{ setup, plan }] = models
  const needs = models.map((model) => needsOf(backend, model))
  const weightBytes = sum(needs.map((one) => one.weightBytes))
  const blockBytes = sum(needs.map((one) => one.cacheBytes))
  const activationBytes = sum(needs.map((one) => one.activationBytes))
  const availableBytes = backend.availableMemory()
  const free = availableBytes - weightBytes - activationBytes
  const cacheBlocks = countBlocks(setup, blockBytes, cacheShare[plan.kind] * free)
  const cacheBytes = cacheBlocks * blockBytes
  const totalBytes = weightBytes + cacheBytes + activationBytes
  return {
    device: plan.kind,
    reason: plan.reason,
    weightBytes,
    cacheBytes,
    cacheBlocks,
    activationBytes,
    totalBytes,
    availableBytes,
    fits: totalBytes <= availableBytes,
  }
}

/** With a cache of one block. */
function needsOf(backend: Backend, { setup, plan, program, limits }: PlannedModel) {
  const cache = { layers: attentionLayers(setup.graph), numBlocks: 1, dtype: plan.cacheDtype }
  return addon().planMemory(backend, program, stepLimits(setup.contextLength, limits), cache)
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

/**
 * Blocks of the KV cache: what `cacheBytes` holds, else what the share holds, but enough for one sequence of the whole
 * context and no more than for all that a step can have.
 */
function countBlocks(
  { cacheBytes, contextLength, maxSequences }: EngineSetup,
  blockBytes: number,
  share: number,
): number {
  const one = blocksFor(contextLength)
  if (blockBytes === 0) return one * maxSequences
  if (cacheBytes === undefined)
    return Math.max(one, Math.min(one * maxSequences, Math.floor(share / blockBytes)))
  if (cacheBytes < blockBytes)
    throw invalidValue(
      'loadModel: cacheBytes',
      `at least ${blockBytes}, a block of ${blockTokens} tokens`,
      cacheBytes,
    )
  return Math.min(one * maxSequences, Math.floor(cacheBytes / blockBytes))
}

/** @throws {OutOfMemoryError} with figures when the plan does not fit */
export function checkFits(plan: MemoryPlan, backend: Backend): void {
  if (plan.fits) return
  throw new OutOfMemoryError(shortage(plan, backend))
}

export function shortage(plan: MemoryPlan, backend: Backend): string {
  const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`
  return (
    `loadModel: ${megabytes(plan.totalBytes)} are needed (${megabytes(plan.weightBytes)} of weights, ` +
    `${megabytes(plan.cacheBytes)} of KV cache, ${megabytes(plan.activationBytes)} of activations), ` +
    `${megabytes(plan.availableBytes)} are free on ${backend.name}`
  )
}
