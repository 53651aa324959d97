import type { Graph, ValueId } from '#kvasir/graph/graph.js'
import { GraphBuilder } from './graph-builder.js'
import { Random } from './random.js'

export const vocabSize = 11
const C = 12
const D = 6

interface Choices {
  norm: 'layer' | 'rms'
  order: 'pre' | 'post' | 'parallel' | 'parallel-one-norm'
  positions: 'none' | 'learned' | 'rotary' | 'alibi'
  interleaved: boolean
  pairs: number
  kvHeads: number
  bias: boolean
  oneProjection: boolean
  queryKeyNorm: boolean
  window: number
  softcap: number
  feedForward: 'plain' | 'gated'
  activation: string
  tiedHead: boolean
  layersShareWeights: boolean
  /** What else the graph gives back, or which other odd thing it does. */
  oddity: (typeof oddities)[number]
}

const oddities = [
  'none',
  'raw queries',
  'rotated queries',
  'rotated keys',
  'sums',
  'weight used twice',
  'dead branch',
  'result used twice',
  'doubled',
  'add after add',
  'scaled queries',
  'unequal biases',
  'second table',
] as const

function choose(random: Random): Choices {
  return {
    norm: random.pick(['layer', 'rms']),
    order: random.pick(['pre', 'pre', 'post', 'parallel', 'parallel-one-norm']),
    positions: random.pick(['none', 'learned', 'rotary', 'rotary', 'rotary', 'alibi']),
    interleaved: random.chance(0.5),
    pairs: random.integer(1, D / 2),
    kvHeads: random.pick([1, 2, 4]),
    bias: random.chance(0.5),
    oneProjection: random.chance(0.3),
    queryKeyNorm: random.chance(0.2),
    window: random.pick([0, 0, 3, 40]),
    softcap: random.pick([0, 0, 5]),
    feedForward: random.pick(['plain', 'gated']),
    activation: random.pick(['relu', 'gelu', 'gelu-tanh', 'silu']),
    tiedHead: random.chance(0.4),
    layersShareWeights: random.chance(0.15),
    oddity: random.chance(0.4) ? 'none' : random.pick(oddities),
  }
}

/** A small transformer of random choices, recorded as model code would record it. */
export function randomModel(seed: number): { graph: Graph; choices: Choices } {
  const random = new Random(seed)
  const choices = choose(random)
  return { graph: new ModelRecorder(choices, random).record(), choices }
}

class ModelRecorder {
  readonly builder = new GraphBuilder()
  readonly choices: Choices
  readonly random: Random
  readonly outputs: Record<string, ValueId> = {}
  table: ValueId | undefined
  secondTable: ValueId | undefined

  constructor(choices: Choices, random: Random) {
    this.choices = choices
    this.random = random
  }

  record(): Graph {
    const { builder, choices } = this
    const wte = builder.weight('wte.weight', [vocabSize, C])
    let x = builder.embedding('wte', builder.input('tokens'), wte)
    if (choices.positions === 'learned') {
      const wpe = builder.weight('wpe.weight', [128, C])
      x = builder.add('', x, builder.embedding('wpe', builder.input('positions'), wpe))
    }
    if (choices.positions === 'rotary') {
      this.table = builder.ropeTable('rotary', Array.from(this.random.numbers(choices.pairs)), 1.25)
      this.secondTable = builder.ropeTable('rotary', Array.from(this.random.numbers(choices.pairs)))
    }
    for (const layer of ['h.0', 'h.1']) x = this.block(layer, x)
    x = this.norm('ln_f', builder.gatherRows('', x))
    const tiedTo = choices.tiedHead ? 'wte' : 'lm_head'
    return builder.finish({ logits: builder.linear('lm_head', x, vocabSize, { tiedTo }), ...this.outputs })
  }

  block(path: string, x: ValueId): ValueId {
    const { builder, choices } = this
    if (choices.order === 'post') {
      const y = this.norm(`${path}.ln_1`, this.sum(path, x, this.attention(`${path}.attn`, x)))
      return this.norm(`${path}.ln_2`, this.sum(path, y, this.feedForward(`${path}.mlp`, y)))
    }
    const normed = this.norm(`${path}.ln_1`, x)
    const attended = this.attention(`${path}.attn`, normed)
    if (choices.order === 'parallel') {
      const fed = this.feedForward(`${path}.mlp`, this.norm(`${path}.ln_2`, x))
      return builder.add(path, this.sum(path, x, attended), fed)
    }
    if (choices.order === 'parallel-one-norm') {
      const fed = this.feedForward(`${path}.mlp`, normed)
      return builder.add(path, this.random.chance(0.5) ? builder.add(path, attended, fed) : fed, x)
    }
    const y = this.sum(path, x, attended)
    return this.sum(path, y, this.feedForward(`${path}.mlp`, this.norm(`${path}.ln_2`, y)))
  }

  sum(path: string, x: ValueId, y: ValueId): ValueId {
    const { builder, random, choices } = this
    let total = random.chance(0.5) ? builder.add(path, x, y) : builder.add(path, y, x)
    if (choices.oddity === 'sums') this.outputs[`${path} ${total}`] = total
    if (choices.oddity === 'doubled') total = builder.add(path, total, total)
    if (choices.oddity === 'result used twice') total = builder.add(path, total, y)
    if (choices.oddity === 'add after add') total = builder.add(path, builder.add(path, x, x), total)
    if (choices.oddity === 'dead branch') builder.activation(path, builder.scale(path, y, 2), 'relu')
    return total
  }

  norm(path: string, x: ValueId): ValueId {
    return this.choices.norm === 'layer' ? this.builder.layerNorm(path, x) : this.builder.rmsNorm(path, x)
  }

  attention(path: string, x: ValueId): ValueId {
    const { builder, choices } = this
    const { kvHeads, softcap, window, bias } = choices
    const heads = 4
    let [q, k, v] = this.projections(path, x, heads * D, kvHeads * D)
    if (choices.oddity === 'raw queries') this.outputs[`${path}.q`] = q
    if (choices.oddity === 'dead branch') builder.scale(path, q, 3)
    if (choices.oddity === 'scaled queries') q = builder.scale(path, q, 0.5)
    if (choices.queryKeyNorm) [q, k] = [this.norm(`${path}.q_norm`, q), this.norm(`${path}.k_norm`, k)]
    if (this.table !== undefined) {
      const tableK = choices.oddity === 'second table' ? this.secondTable! : this.table
      q = builder.rope(path, q, this.table, heads, choices.interleaved)
      k = builder.rope(path, k, tableK, kvHeads, choices.interleaved)
    }
    if (choices.oddity === 'rotated queries') this.outputs[`${path}.rotated`] = q
    if (choices.oddity === 'rotated keys') this.outputs[`${path}.rotated`] = builder.scale(path, k, 2)
    const slopes = choices.positions === 'alibi' ? [0.5, 0.25, 0.125, 0.0625] : undefined
    const options = { heads, kvHeads, headSize: D, softcap, window, slopes }
    const y = builder.attention(path, q, k, v, options)
    return builder.linear(`${path}.o_proj`, y, C, { bias, tiedTo: this.shared(`${path}.o_proj`) })
  }

  projections(path: string, x: ValueId, queries: number, keys: number): [ValueId, ValueId, ValueId] {
    const { builder, choices } = this
    const { bias } = choices
    if (choices.oneProjection) {
      const tiedTo = this.shared(`${path}.c_attn`)
      const whole = builder.linear(`${path}.c_attn`, x, queries + 2 * keys, { bias, tiedTo })
      const q = builder.slice(path, whole, 0, queries)
      const k = builder.slice(path, whole, queries, keys)
      return [q, k, builder.slice(path, whole, queries + keys, keys)]
    }
    const project = (name: string, size: number, options = {}) =>
      builder.linear(`${path}.${name}`, x, size, { bias, tiedTo: this.shared(`${path}.${name}`), ...options })
    const q = project('q_proj', queries)
    const k = project('k_proj', keys, choices.oddity === 'unequal biases' ? { bias: !bias } : {})
    const tiedTo = this.shared(`${path}.k_proj`)
    return [q, k, project('v_proj', keys, choices.oddity === 'weight used twice' ? { tiedTo } : {})]
  }

  feedForward(path: string, x: ValueId): ValueId {
    const { builder, choices } = this
    const { bias, activation } = choices
    const linear = (name: string, input: ValueId, size: number) =>
      builder.linear(`${path}.${name}`, input, size, { bias, tiedTo: this.shared(`${path}.${name}`) })
    const gate = linear('gate_proj', x, 2 * C)
    if (choices.feedForward === 'plain') {
      return linear('down_proj', builder.activation(path, gate, activation), C)
    }
    const up = choices.oddity === 'doubled' ? gate : linear('up_proj', x, 2 * C)
    return linear('down_proj', builder.activation(path, gate, activation, up), C)
  }

  /** The path whose parameters a layer uses: its own, or the first layer's. */
  shared(path: string): string {
    return this.choices.layersShareWeights ? path.replace('h.1', 'h.0') : path
  }
}
