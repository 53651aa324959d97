import { parentPort, workerData } from 'node:worker_threads'
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
import type { DevicePlan } from './device.js'
import { checkFits, devicePlans, planMemory, shortage } from './device.js'
import { packError } from './error-transfer.js'
import type { GenerationContext } from './generation.js'
import { generate, promptIds } from './generation.js'
import type {
  EngineSetup,
  FromWorker,
  MemoryPlan,
  NextToken,
  Piece,
  Request,
  Results,
  ToWorker,
} from './messages.js'
import { ModelRunner, stepLimits } from './model-runner.js'

// The engine's thread: loads the model, then serves requests one after another. Native steps block this thread and
// never the caller's.

/** Pieces are posted at most this often: a small model makes many thousand a second. */
const postIntervalMs = 4
const progressIntervalMs = 50

const port = parentPort!
const post = (message: FromWorker, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer)

interface Loaded {
  context: GenerationContext
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

/** The first device that has room for the model. */
function openDevice(setup: EngineSetup, storedTypes: (parameter: string) => DType): OpenDevice {
  const layers = attentionLayers(setup.graph)
  const plans = devicePlans(setup, storedTypes)
  let reason = ''
  for (const [i, plan] of plans.entries()) {
    const last = i === plans.length - 1
    try {
      const backend = new (addon().Backend)(plan.backend)
      const program = optimize(withSampling(setup.graph), plan.options)
      const limits = stepLimits(setup.contextLength)
      const memory = planMemory(plan, backend, program, limits, layers)
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
  const { graph, vocabSize, contextLength, eosIds } = setup
  if (plan.kind === 'cuda') checkFits(memory, backend)
  const store = declareWeights(program, backend)
  const runner = new ModelRunner({
    backend,
    store,
    graph,
    layout: plan.options,
    layers: attentionLayers(graph),
    vocabSize,
    contextLength,
    cacheDtype: plan.cacheDtype,
    lookahead: plan.lookahead,
  })
  runner.prepare(program)
  const onProgress = throttledProgress()
  if (!loadWeights(store, program, tensors, { backend, abort: setup.stop, onProgress }))
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
    },
  })
  return {
    context: { runner, tokenizer, vocabSize, contextLength, eosIds: new Set(eosIds) },
    dispose() {
      runner.dispose()
      store.dispose()
      backend.dispose()
    },
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

/** Collects a request's pieces and posts them in batches; the first one at once. */
class PieceSender {
  readonly #id: number
  #pieces: Piece[] = []
  #postedAt = 0

  constructor(id: number) {
    this.#id = id
  }

  push(piece: Piece): void {
    this.#pieces.push(piece)
    if (performance.now() - this.#postedAt >= postIntervalMs) this.flush()
  }

  flush(): void {
    if (this.#pieces.length === 0) return
    post({ type: 'pieces', id: this.#id, pieces: this.#pieces })
    this.#pieces = []
    this.#postedAt = performance.now()
  }
}

async function handle(
  request: Request,
  context: GenerationContext,
  arrivedAt: number,
): Promise<Results[keyof Results]> {
  switch (request.type) {
    case 'generate': {
      const sender = new PieceSender(request.id)
      try {
        return await generate(request, context, arrivedAt, (piece) => sender.push(piece))
      } finally {
        sender.flush()
      }
    }
    case 'nextTokens': {
      const ids = promptIds('nextTokens', request.prompt, context)
      return mostProbable(await context.runner.probabilities(ids, request.flag), request.top, context)
    }
    case 'logits': {
      const ids = promptIds('logits', request.prompt, context)
      const data = await context.runner.logits(ids, request.flag)
      return { data, shape: [ids.length, context.vocabSize] }
    }
    case 'tokenize':
      return requireTokenizer(context).encode(request.text, { addSpecialTokens: request.addSpecialTokens })
    case 'detokenize':
      return requireTokenizer(context).decode(request.ids)
  }
}

function requireTokenizer({ tokenizer }: GenerationContext) {
  if (!tokenizer)
    throw Object.assign(new TypeError('tokenizer: the model has none'), { code: 'ERR_UNSUPPORTED' })
  return tokenizer
}

/** The `top` largest entries in descending order, the lower id first among equals. */
function mostProbable(
  probabilities: Float32Array,
  top: number,
  { tokenizer }: GenerationContext,
): NextToken[] {
  const order = Array.from(probabilities.keys())
  order.sort((a, b) => probabilities[b]! - probabilities[a]! || a - b)
  return order.slice(0, top).map((id) => {
    const probability = probabilities[id]!
    return { id, text: tokenizer?.display(id) ?? '', probability, logprob: Math.log(probability) }
  })
}

/** Serves requests in the order they came, each to its end. */
async function serve(setup: EngineSetup): Promise<void> {
  const queue: { request: Request; arrivedAt: number }[] = []
  let wake = () => {}
  let disposed = false
  port.on('message', (message: ToWorker) => {
    if (message.type === 'dispose') disposed = true
    else queue.push({ request: message, arrivedAt: performance.now() })
    wake()
  })
  let model: Loaded
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
  while (!disposed) {
    const next = queue.shift()
    if (!next) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
      continue
    }
    await answer(next.request, model.context, next.arrivedAt)
  }
  model.dispose()
  port.close()
}

async function answer(request: Request, context: GenerationContext, arrivedAt: number): Promise<void> {
  try {
    if (Atomics.load(request.flag, 0) !== 0) throw new AbortError(`${request.type}: aborted`)
    const result = await handle(request, context, arrivedAt)
    const transfer =
      request.type === 'logits' ? [(result as Results['logits']).data.buffer as ArrayBuffer] : []
    post({ type: 'result', id: request.id, result }, transfer)
  } catch (error) {
    post({ type: 'error', id: request.id, error: packError(error) })
  }
}

// Not awaited: messages are delivered only once this module has been evaluated.
void serve(workerData as EngineSetup)
