import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { readChatTemplates } from '../checkpoint/chat-templates.js'
import { loadModelTokenizer } from '../checkpoint/model-tokenizer.js'
import type { Tokenizer } from '../tokenizer/index.js'
import { BlockPool } from './block-pool.js'
import { constraintCompiler } from './constraint-compiler.js'
import { checkFits } from './device.js'
import { DraftModel } from './draft-model.js'
import { sharedAcceptances } from './drafter.js'
import { packError } from './error-transfer.js'
import type { EngineSetup, FromWorker, MemoryPlan, ToWorker } from './messages.js'
import type { OpenDevice, OpenModel } from './model-loading.js'
import { openDevice, openModels, readWeights, withFiles } from './model-loading.js'
import type { ModelRunner } from './model-runner.js'
import { rowsOf } from './model-runner.js'
import { Serving } from './serving.js'
import { StatsCounter } from './stats.js'

// The engine's thread: loads the model, then serves requests. Native steps block this thread and never the caller's.

const progressIntervalMs = 50

const port = parentPort!
const post = (message: FromWorker, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer)

interface Loaded {
  serving: Serving
  dispose(): void
}

async function load(setup: EngineSetup): Promise<Loaded> {
  const tokenizer = await loadModelTokenizer(setup.folder)
  const chatTemplates = { ...(await readChatTemplates(setup.folder)) }
  return withFiles(setup, (files) => prepare(setup, openDevice(files), { tokenizer, chatTemplates }))
}

/** Everything is allocated before the first weight is read, so that nothing fails half way for want of memory. */
function prepare(
  setup: EngineSetup,
  device: OpenDevice,
  { tokenizer, chatTemplates }: { tokenizer: Tokenizer | null; chatTemplates: Record<string, string> },
): Loaded {
  const { vocabSize, contextLength, eosIds, stop } = setup
  const { plan, backend, memory } = device
  if (plan.kind === 'cuda') checkFits(memory, backend)
  const models = openModels(device)
  readWeights(device, models, stop, throttledProgress())
  const total = (of: (model: OpenModel) => number) => models.reduce((sum, model) => sum + of(model), 0)
  post({
    type: 'ready',
    info: {
      device: plan.kind,
      deviceName: backend.name,
      deviceReason: plan.reason,
      activations: plan.activations,
      isa: backend.isa,
      threads: backend.threads,
      weightBytes: total(({ store }) => store.bytes),
      cacheBytes: total(({ runner }) => runner.cacheBytes),
      activationBytes: total(({ runner }) => runner.activationBytes),
      hasTokenizer: tokenizer !== null,
      chatTemplates,
      ...specialTokens(tokenizer),
    },
  })
  const [{ runner }, draft] = models
  const [{ limits }] = device.models
  const serving = new Serving({
    runner,
    draftModel: draft ? draftModel(setup, draft.runner, memory.cacheBlocks) : null,
    context: {
      tokenizer,
      vocabSize,
      contextLength,
      eosIds: new Set(eosIds),
      pool: new BlockPool(memory.cacheBlocks),
      stats: new StatsCounter(),
      acceptances: sharedAcceptances(),
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
      for (const { runner, store } of models) {
        runner.dispose()
        store.dispose()
      }
      backend.dispose()
    },
  }
}

function draftModel({ draft, promptTokens, stop }: EngineSetup, runner: ModelRunner, numBlocks: number) {
  const { contextLength } = draft!
  return new DraftModel({ runner, pool: new BlockPool(numBlocks), contextLength, promptTokens, stop })
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
function plan(setup: EngineSetup): Promise<MemoryPlan> {
  return withFiles(setup, (files) => {
    const { backend, memory } = openDevice(files)
    backend.dispose()
    return memory
  })
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
