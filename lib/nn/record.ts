import { invalidType, KvasirError } from '../errors.js'
import type { Graph } from '../graph/graph.js'
import { Recording } from '../graph/recording.js'
import { expectInteger, expectMatrix, shapeMismatch } from '../ops/check.js'
import { Tensor } from '../ops/tensor.js'
import { CausalLM } from './causal-lm.js'
import type { Module } from './module.js'
import { Step } from './step.js'
import { treeOf } from './tree.js'

/** What an engine has to know of a model besides its graph. */
export interface ModelSpec {
  vocabSize: number
  /** Positions that a sequence may have. */
  maxPositions: number
  /** For each layer of the KV cache, the size of its keys and values. */
  layers: { kvHeads: number; headSize: number }[]
}

const maxPositions = 2 ** 24 // more than any model has; a position must fit i32 and its angle f64

/**
 * The graph of a model: names its tree, runs `forward` once on symbolic tensors, and gives what that recorded. The
 * graph is plain data with one output, `logits` (R, V).
 *
 * @throws {ShapeError} when an op's arguments do not fit together, or the logits are not (R, V)
 * @throws {KvasirError} when a parameter is not used, or one is used that the model's fields do not lead to
 */
export function record(model: CausalLM<unknown>): Graph {
  if (!(model instanceof CausalLM)) throw invalidType('record: model', 'a CausalLM', model)
  const { modules, parameters } = treeOf(model)
  const recording = new Recording(parameters)
  const restore = nameNodesAfter(modules, recording)
  try {
    const logits = model.forward(new Step(recording))
    checkLogits(logits)
    recording.graph.outputs = { logits: logits.value.id }
  } finally {
    restore()
  }
  checkAllUsed(recording.graph, [...parameters.values()])
  return recording.graph
}

/**
 * What an engine has to know of a recorded model.
 *
 * @param graph of `record(model)`
 * @throws {RangeError} when `model.maxPositions` is not an integer from 1 to 2^24
 */
export function modelSpec(model: CausalLM<unknown>, graph: Graph): ModelSpec {
  expectInteger('model', 'maxPositions', model.maxPositions, 1, maxPositions)
  const layers = graph.nodes
    .filter((node) => node.op === 'attention')
    .map(({ attributes }) => ({ kvHeads: Number(attributes.kvHeads), headSize: Number(attributes.headSize) }))
  const logits = graph.values[graph.outputs.logits!]!
  return { vocabSize: Number(logits.shape[1]), maxPositions: model.maxPositions, layers }
}

/** Has every module's `forward` record under its path. @returns what undoes it */
function nameNodesAfter(modules: Map<Module<unknown>, string>, recording: Recording): () => void {
  const undo: (() => void)[] = []
  for (const [module, path] of modules as Map<Module<unknown> & { forward?: unknown }, string>) {
    const { forward } = module
    if (typeof forward !== 'function') continue
    const own = Object.getOwnPropertyDescriptor(module, 'forward')
    const value = (...args: unknown[]) => {
      const result = recording.within(path, () => forward.apply(module, args))
      if (result instanceof Tensor) recording.noteResult(path, result.value.id)
      return result
    }
    Object.defineProperty(module, 'forward', { value, configurable: true, enumerable: false })
    undo.push(() => {
      if (own) Object.defineProperty(module, 'forward', own)
      else delete module.forward
    })
  }
  return () => {
    for (const step of undo) step()
  }
}

function checkLogits(logits: Tensor): void {
  if (!(logits instanceof Tensor)) throw invalidType('forward: its result', 'a tensor of logits', logits)
  const { rows } = expectMatrix('forward', 'logits', logits, '(R, V)')
  if (rows !== 'R')
    throw shapeMismatch(
      'forward',
      'logits',
      '(R, V), the rows of gatherRows(x, step.outputRows)',
      logits.shape,
    )
}

function checkAllUsed(graph: Graph, paths: string[]): void {
  const used = new Set(graph.values.flatMap(({ parts = [] }) => parts.map(({ parameter }) => parameter)))
  const unused = paths.filter((path) => !used.has(path))
  if (unused.length === 0) return
  const others = unused.length === 1 ? '' : ` (nor have ${unused.length - 1} others)`
  throw new KvasirError(
    'ERR_INVALID_ARG_VALUE',
    `record: parameter ${unused[0]} must be used in forward, got no use${others}`,
  )
}
