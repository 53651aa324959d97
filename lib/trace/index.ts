import { invalidType, invalidValue } from '../errors.js'
import type { Graph, ValueId } from '../graph/graph.js'
import { withCaptures, withValueReplaced } from '../graph/passes/with-captures.js'
import { attentionProbabilities } from './attention-probabilities.js'
import { matchPaths, type Target, targetsOf } from './paths.js'

/** A matrix or more, row-major. */
export interface Activation {
  data: Float32Array
  shape: number[]
}

/** A prompt's tokens, and what was computed for them. */
export interface Trace {
  ids: number[]
  /** The tokens, for people to read. */
  tokens: string[]
  /** By module path: a module's result, (tokens, width); `.probabilities` of an attention, (heads, tokens, tokens). */
  values: Record<string, Activation>
}

/** Runs a graph over the prompt, all of its tokens, and gives some of its outputs. */
export type RunGraph = (
  graph: Graph,
  outputs: string[],
) => Promise<{
  ids: number[]
  tokens: string[]
  outputs: Record<string, { data: Float32Array; shape: [number, number] }>
}>

/** Everything that `trace` can capture, by module path. */
export function capturable(graph: Graph): string[] {
  return [...targetsOf(graph).keys()]
}

/**
 * Computes a prompt and gives what modules made of it.
 *
 * @throws {RangeError} when a pattern means nothing in the model, naming the nearest paths
 */
export async function trace(graph: Graph, capture: unknown, run: RunGraph): Promise<Trace> {
  if (!Array.isArray(capture) || Array.from(capture).some((pattern) => typeof pattern !== 'string'))
    throw invalidType('trace: capture', 'an array of paths', capture)
  if (capture.length === 0) throw invalidValue('trace: capture', 'at least one path', 'none')
  const targets = targetsOf(graph)
  const paths = matchPaths('trace: capture', capture, targets.keys())
  const captures: Record<string, ValueId> = {}
  for (const path of paths) Object.assign(captures, capturesFor(path, targets.get(path)!))
  const { ids, tokens, outputs } = await run(withCaptures(graph, captures), Object.keys(captures))
  const values: Record<string, Activation> = {}
  for (const path of paths) {
    const target = targets.get(path)!
    if (target.kind === 'result') values[path] = outputs[path]!
    else {
      const { slopes } = target.attention.inputs
      values[path] = await attentionProbabilities(
        target.attention,
        outputs[`${path} q`]!.data,
        outputs[`${path} k`]!.data,
        slopes === undefined ? null : (graph.values[slopes]!.data ?? null),
      )
    }
  }
  return { ids, tokens, values }
}

function capturesFor(path: string, target: Target): Record<string, ValueId> {
  if (target.kind === 'result') return { [path]: target.value }
  const { q, k } = target.attention.inputs
  return { [`${path} q`]: q!, [`${path} k`]: k! }
}

/** A token that a layer expects next. */
export interface LensToken {
  id: number
  text: string
  probability: number
}

export interface LogitLens {
  ids: number[]
  tokens: string[]
  /** The blocks' paths, from the first on. */
  layers: string[]
  /** By layer and token: the likeliest next tokens, if the model ended with that layer. */
  predictions: LensToken[][][]
}

/**
 * What each block's result would mean to the model's last norm and head: the prediction, layer by layer (nostalgebraist
 * 2020, "interpreting GPT: the logit lens").
 *
 * @throws {RangeError} when the model has no numbered blocks
 */
export async function logitLens(
  graph: Graph,
  top: number,
  { run, display }: { run: RunGraph; display(ids: number[]): Promise<string[]> },
): Promise<LogitLens> {
  const layers = blocksOf(graph)
  const last = graph.results![layers.at(-1)!]!
  const lens: LogitLens = { ids: [], tokens: [], layers, predictions: [] }
  const found: { id: number; probability: number }[][][] = []
  for (const layer of layers) {
    const ending = withValueReplaced(withoutRest(graph), last, graph.results![layer]!)
    const { ids, tokens, outputs } = await run(ending, ['logits'])
    Object.assign(lens, { ids, tokens })
    const { data, shape } = outputs.logits!
    const rows = Array.from({ length: shape[0] }, (_, t) => data.subarray(t * shape[1], (t + 1) * shape[1]))
    found.push(rows.map((row) => likeliest(row, top)))
  }
  const all = [...new Set(found.flat(2).map(({ id }) => id))]
  const texts = new Map((await display(all)).map((text, i) => [all[i]!, text]))
  lens.predictions = found.map((rows) =>
    rows.map((row) => row.map((one) => ({ ...one, text: texts.get(one.id) ?? '' }))),
  )
  return lens
}

function withoutRest({ values, nodes, outputs }: Graph): Graph {
  return { values, nodes, outputs }
}

/** The paths of the model's blocks: of all numbered modules those of which there are most, the outermost first. */
export function blocksOf(graph: Graph): string[] {
  const groups = new Map<string, string[]>()
  for (const path of Object.keys(graph.results ?? {})) {
    const [, group, number] = /^(.*?)\.?(\d+)$/.exec(path) ?? []
    if (number !== undefined && graph.values[graph.results![path]!]!.shape[0] === 'N')
      groups.set(group!, [...(groups.get(group!) ?? []), path])
  }
  const [largest] = [...groups.values()].sort((a, b) => b.length - a.length || a[0]!.length - b[0]!.length)
  if (!largest) throw invalidValue('logitLens: model', 'made of numbered blocks', 'none')
  return largest
}

function likeliest(row: Float32Array, top: number): { id: number; probability: number }[] {
  const best: number[] = []
  for (let id = 0; id < row.length; id++) {
    if (best.length === top && row[id]! <= row[best[top - 1]!]!) continue
    let at = best.length < top ? best.length : top - 1
    for (; at > 0 && row[best[at - 1]!]! < row[id]!; at--) best[at] = best[at - 1]!
    best[at] = id
  }
  const largest = row[best[0]!]!
  let sum = 0
  for (const logit of row) sum += Math.exp(logit - largest)
  return best.map((id) => ({ id, probability: Math.exp(row[id]! - largest) / sum }))
}
