import type { ValueId } from '#kvasir/graph/graph.js'
import type { Random } from '../graph/random.js'
import type { StepInputs } from '../graph/steps.js'
import { KernelGraph } from './kernel-graph.js'

export interface Settings {
  temperature: number
  topK: number
  typicalP: number
  topP: number
  minP: number
  seed: [number, number]
  counter: number
  forced: number
}

export const plain: Settings = {
  temperature: 1,
  topK: 0,
  typicalP: 1,
  topP: 1,
  minP: 0,
  seed: [1, 2],
  counter: 0,
  forced: -1,
}

const plainTables = ['temperature', 'topK', 'topP', 'minP', 'seed', 'counter'] as const
const controls = ['typicalP', 'forced'] as const

/** Records `sample` of rows of `logits`, from those of `adjusted` where it is given; the step's output rows are its tokens. */
export function sampleGraph(V: number, logits: ArrayLike<number>, adjusted?: ArrayLike<number>): KernelGraph {
  const graph = new KernelGraph()
  const inputs: Record<string, ValueId> = {
    logits: graph.gatherRows('gather', graph.activations('logits', V, logits)),
  }
  if (adjusted) {
    inputs.adjusted = graph.gatherRows('gather adjusted', graph.activations('adjusted', V, adjusted))
    for (const name of controls) inputs[name] = graph.input(name)
  }
  for (const name of plainTables) inputs[name] = graph.input(name)
  graph.finish(graph.nodeWith('sample', inputs, ['R'], { ids: 'i32', logprobs: 'f32' }))
  return graph
}

/** A step that samples the given rows. */
export function sampleStep(
  rows: readonly number[],
  settings: (r: number) => Partial<Settings> = () => ({}),
): StepInputs {
  const each = rows.map((_, r) => ({ ...plain, ...settings(r) }))
  const floats = (name: 'temperature' | 'typicalP' | 'topP' | 'minP') =>
    Float32Array.from(each, (one) => one[name])
  const integers = (name: 'topK' | 'counter' | 'forced') => Int32Array.from(each, (one) => one[name])
  return {
    tokens: Int32Array.from(rows),
    outputRows: Int32Array.from(rows, (_, r) => r),
    temperature: floats('temperature'),
    topK: integers('topK'),
    typicalP: floats('typicalP'),
    topP: floats('topP'),
    minP: floats('minP'),
    seed: Int32Array.from(each.flatMap(({ seed }) => seed)),
    counter: integers('counter'),
    forced: integers('forced'),
  }
}

export const range = (count: number) => Array.from({ length: count }, (_, i) => i)

/** Settings of every kind that the plain program knows, most of them with several rules. */
export function randomSettings(random: Random, V: number): Settings {
  return {
    ...plain,
    temperature: random.pick([0, 0.1, 0.7, 1, 1, 1.3, 5]),
    topK: random.pick([0, 0, 1, 2, 5, 40, V - 1, V, 2 * V]),
    // None that some number of equal probabilities reaches exactly: that is up to rounding.
    topP: random.pick([1, 1, 0.95, 0.9, 0.51, 0.01]),
    minP: random.pick([0, 0, 0.02, 0.1, 0.5, 0.99]),
    seed: [random.integer(-(2 ** 31), 2 ** 31 - 1), random.integer(-(2 ** 31), 2 ** 31 - 1)],
    counter: random.integer(0, 2 ** 31 - 1),
  }
}

/** And of those that all controls know. */
export function randomControls(random: Random, V: number): Settings {
  return {
    ...randomSettings(random, V),
    typicalP: random.pick([1, 0.95, 0.9, 0.51, 0.2, 0.01]),
    forced: random.chance(0.1) ? random.integer(0, V - 1) : -1,
  }
}

/** Rows as models give them, flat ones, steep ones, ones with many equal logits and ones with most ids masked. */
export function randomLogits(random: Random, V: number): number[] {
  const spread = random.pick([0.1, 2, 10, 40])
  const kind = random.pick(['even', 'peaked', 'whole numbers', 'masked'])
  const shift = random.pick([0, 0, 500, -500])
  const kept = random.integer(0, V - 1)
  return range(V).map((id) => {
    const logit = (2 * random.next() - 1) * spread
    if (kind === 'peaked') return Math.fround(logit * random.next() ** 8 + shift)
    if (kind === 'whole numbers') return Math.round(logit)
    if (kind === 'masked' && id !== kept && random.chance(0.9)) return -Infinity
    return Math.fround(logit + shift)
  })
}

/** Edits of every kind, each token once in a row, and masks; as the tables of a step. */
export function randomEdits(random: Random, V: number, R: number, most = 40): StepInputs {
  const words = Math.ceil(V / 32)
  const starts = [0]
  const ids: number[] = []
  for (let r = 0; r < R; r++) {
    const count = random.chance(0.3) ? 0 : Math.min(random.integer(0, most), V)
    ids.push(...random.shuffle(range(V)).slice(0, count))
    starts.push(ids.length)
  }
  const M = random.integer(0, 3)
  // Two words: one has as many bits as the other leaves out.
  const word = () => random.integer(-(2 ** 31), 2 ** 31 - 1)
  return {
    editStarts: Int32Array.from(starts),
    editIds: Int32Array.from(ids),
    editFactors: Float32Array.from(ids, () => random.pick([1, 1.1, 1.3, 0.7, 2])),
    editOffsets: Float32Array.from(ids, () => random.pick([0, 0, 1.5, -2.25, 100, -100, -Infinity])),
    maskRows: Int32Array.from({ length: R }, () => (random.chance(0.5) ? -1 : random.integer(-1, M - 1))),
    masks: Int32Array.from({ length: M * words }, word),
  }
}

// A logarithm of an f32 sum's size, and one rounding of the result.
export const allowedLogprob = (y: number) => 1e-6 + 1.2e-7 * Math.abs(y)
