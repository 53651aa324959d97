import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { readChatTemplates } from '../checkpoint/chat-templates.js'
import { Checkpoint } from '../checkpoint/checkpoint.js'
import { declareWeights, loadWeights } from '../checkpoint/load-weights.js'
import type { MatchedTensor } from '../checkpoint/match.js'
import { matchParameters } from '../checkpoint/match.js'
import { loadModelTokenizer } from '../checkpoint/model-tokenizer.js'
import { AbortError, KvasirError } from '../errors.js'
import type { DType, Graph } from '../graph/graph.js'
import { optimize, withSampling } from '../graph/passes/index.js'
import type { Backend } from '../native/addon.js'
import { addon } from '../native/addon.js'
import type { Tokenizer } from '../tokenizer/index.js'
import { attentionLayers } from './attention-layers.js'
import { BlockPool } from './block-pool.js'
import { constraintCompiler } from './constraint-compiler.js'
import type { DevicePlan } from './device.js'
import { checkFits, devicePlans, planMemory, shortage } from './device.js'
import { packError } from './error-transfer.js'
import type { EngineSetup, FromWorker, MemoryPlan, ToWorker } from './messages.js'
import type { RunnerLimits } from './model-runner.js'
import { ModelRunner, rowsOf } from './model-runner.js'
import { Serving } from './serving.js'
import { StatsCounter } from './stats.js'

// The engine's thread: loads the model, then serves requests. Native steps block this thread and never the caller's.

const progressIntervalMs = 50
/** Rows of a step beside one a sequence: of tokens that are verified, and of a prompt's own log probabilities. */
const spareRows = 128

const port = parentPort!
const post = (message: FromWorker, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer)

interface Loaded {
  serving: Serving
  dispose(): void
}

async function load(setup: EngineSetup): Promise<Loaded> {
  const tokenizer = await loadModelTokenizer(setup.folder)
  const chatTemplates = { ...(await readChatTemplates(setup.folder)) }
  const checkpoint = await Checkpoint.open(setup.folder)
  try {
    const tensors = matchParameters(checkpoint, setup.parameters, setup.rules)
    const storedTypes = (parameter: string) => tensors.get(parameter)?.dtype ?? ('f32' as const)
    const device = openDevice(setup, storedTypes)
    return prepare(setup, device, tensors, { tokenizer, chatTemplates })
  } finally {
    checkpoint.close()
  }
}

interface OpenDevice {
  plan: DevicePlan
  backend: Backend
  /** The program that samples, as the device wants it. */
  program: Graph
  memory: MemoryPlan
}

function runnerLimits({ stepTokens, maxSequences }: EngineSetup): RunnerLimits {
  return { tokens: stepTokens, sequences: maxSequences, rows: maxSequences + spareRows }
}

/** The first device that has room for the model. */
function openDevice(setup: EngineSetup, storedTypes: (parameter: string) => DType): OpenDevice {
  const plans = devicePlans(setup, storedTypes)
  let reason = ''
  for (const [i, plan] of plans.entries()) {
    const last = i === plans.length - 1
    try {
      const backend = new (addon().Backend)(plan.backend)
      const program = optimize(withSampling(setup.graph), plan.options)
      const memory = planMemory(plan, backend, program, setup, runnerLimits(setup))
      memory.reason ||= reason
      if (last || memory.fits) return { plan: { ...plan, reason: memory.reason }, backend, program, memory }
      reason = shortage(memory, backend)
      backend.dispose()
    } catch (error) {
      if (last) throw error
      reason = (error as Error).message
    }
  }
  throw new KvasirError('ERR_INTERNAL', 'loadModel: no device')
}

/** Everything is allocated before the first weight is read, so that nothing fails half way for want of memory. */
function prepare(
  setup: EngineSetup,
  { plan, backend, program, memory }: OpenDevice,
  tensors: ReadonlyMap<string, MatchedTensor>,
  { tokenizer, chatTemplates }: { tokenizer: Tokenizer | null; chatTemplates: Record<string, string> },
): Loaded {
  const { graph, vocabSize, contextLength, eosIds, stop } = setup
  if (plan.kind === 'cuda') checkFits(memory, backend)
  const store = declareWeights(program, backend)
  const limits = runnerLimits(setup)
  const runner = new ModelRunner({
    backend,
    store,
    graph,
    layout: plan.options,
    layers: attentionLayers(graph),
    vocabSize,
    contextLength,
    cacheDtype: plan.cacheDtype,
    numBlocks: memory.cacheBlocks,
    limits,
  })
  runner.prepare(program)
  const onProgress = throttledProgress()
  if (!loadWeights(store, program, tensors, { backend, abort: stop, onProgress }))
    throw new AbortError('loadModel: aborted')
  post({
    type: 'ready',
    info: {
      device: plan.kind,
      deviceName: backend.name,
      deviceReason: plan.reason,
      activations: plan.activations,
      isa: backend.isa,
      threads: backend.threads,
      weightBytes: store.bytes,
      cacheBytes: runner.cacheBytes,
      activationBytes: runner.activationBytes,
      hasTokenizer: tokenizer !== null,
      chatTemplates,
      ...specialTokens(tokenizer),
    },
  })
  const serving = new Serving({
    runner,
    context: {
      tokenizer,
      vocabSize,
      contextLength,
      eosIds: new Set(eosIds),
      pool: new BlockPool(memory.cacheBlocks),
      stats: new StatsCounter(),
      compileConstraint: constraintCompiler(tokenizer, vocabSize),
      copyBlocks: (pairs) => runner.copyBlocks(pairs),
    },
    limits: {
      tokens: limits.tokens,
      promptTokens: setup.promptTokens,
      sequences: limits.sequences,
      rows: (kind) => rowsOf(kind, limits),
    },
    lookahead: plan.lookahead,
    stop,
    post,
  })
  return {
    serving,
    dispose() {
      runner.dispose()
      store.dispose()
      backend.dispose()
    },
  }
}

function specialTokens(tokenizer: Tokenizer | null) {
  const texts = tokenizer?.specialTokens() ?? new Map<number, string>()
  const textOf = (id: number | null | undefined) => texts.get(id ?? -1) ?? null
  return {
    specialTokens: [...texts.values()],
    bosToken: textOf(tokenizer?.bosId),
    eosToken: textOf(tokenizer?.eosId),
  }
}

/** What the model would take, without loading it. */
async function plan(setup: EngineSetup): Promise<MemoryPlan> {
  const checkpoint = await Checkpoint.open(setup.folder)
  try {
    const tensors = matchParameters(checkpoint, setup.parameters, setup.rules)
    const { backend, memory } = openDevice(setup, (parameter) => tensors.get(parameter)?.dtype ?? 'f32')
    backend.dispose()
    return memory
  } finally {
    checkpoint.close()
  }
}

function throttledProgress(): (loadedBytes: number, totalBytes: number) => void {
  let postedAt = 0
  return (loadedBytes, totalBytes) => {
    const now = performance.now()
    if (now - postedAt < progressIntervalMs && loadedBytes < totalBytes) return
    postedAt = now
    post({ type: 'progress', loadedBytes, totalBytes })
  }
}

async function serve(setup: EngineSetup): Promise<void> {
  let model: Loaded | undefined
  const early: ToWorker[] = []
  const receive = (message: ToWorker) => {
    if (!model) early.push(message)
    else if (message.type === 'dispose') model.serving.dispose()
    else if (message.type === 'wake') model.serving.wake()
    else model.serving.receive(message)
  }
  port.on('message', receive)
  try {
    if (setup.planOnly) {
      post({ type: 'planned', plan: await plan(setup) })
      port.close()
      return
    }
    model = await load(setup)
  } catch (error) {
    post({ type: 'unready', error: packError(error) })
    port.close()
    return
  }
  for (const message of early) receive(message)
  await model.serving.run(() => {
    for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) receive(next.message)
  })
  model.dispose()
  port.close()
}

// Not awaited: messages are delivered only once this module has been evaluated.
void serve(workerData as EngineSetup)
