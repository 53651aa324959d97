import type { Graph, ValueId } from '#kvasir/graph/graph.js'
import { GraphBuilder } from './graph-builder.js'
import { Random } from './random.js'
import { vocabSize } from './random-model.js'

const C = 8
const heads = 2
const headSize = C / heads

/**
 * A graph without a plan: nodes of any op read whatever was computed before them, so that values are shared, dead,
 * read by their neighbours' neighbours and given back in ways that no model would. All results are (N,8).
 */
export function randomGraph(seed: number): Graph {
  const random = new Random(seed)
  const builder = new GraphBuilder()
  const values = [
    builder.embedding('wte', builder.input('tokens'), builder.weight('wte.weight', [vocabSize, C])),
  ]
  const tables = [0, 1].map((i) => builder.ropeTable(`table.${i}`, Array.from(random.numbers(1 + i))))
  const count = random.integer(6, 24)
  for (let i = 0; i < count; i++) {
    // Mostly recent values, as fusions need.
    const pick = () => (random.chance(0.6) ? values.at(-1)! : random.pick(values))
    values.push(...randomNodes(builder, random, tables, `n.${i}`, pick))
  }
  const outputs: Record<string, ValueId> = { last: values.at(-1)! }
  for (let i = random.integer(0, 2); i > 0; i--) outputs[`extra ${i}`] = random.pick(values)
  return builder.finish(outputs)
}

type Pick = () => ValueId

function randomNodes(
  builder: GraphBuilder,
  random: Random,
  tables: ValueId[],
  path: string,
  pick: Pick,
): ValueId[] {
  const linear = (name: string, x: ValueId) => {
    const tiedTo = random.chance(0.1) ? 'tied' : name
    return builder.linear(name, x, C, { bias: random.chance(0.3), tiedTo })
  }
  const kind = random.pick(['relu', 'gelu', 'gelu-tanh', 'silu'])
  const rope = (x: ValueId) => builder.rope(path, x, random.pick(tables), heads, random.chance(0.3))
  switch (random.integer(0, 11)) {
    case 0:
    case 1:
      return [linear(path, pick())]
    case 2:
    case 3:
      return [builder.add(path, pick(), pick())]
    case 4:
      return [builder.layerNorm(path, pick())]
    case 5:
      return [builder.rmsNorm(path, pick())]
    case 6:
      return [builder.activation(path, pick(), kind)]
    case 7: {
      const x = pick()
      const [gate, up] = [linear(`${path}.gate`, x), linear(`${path}.up`, random.chance(0.7) ? x : pick())]
      return [gate, builder.activation(path, gate, kind, up)].slice(random.integer(0, 1))
    }
    case 8: {
      const x = linear(path, pick())
      return [builder.scale(path, x, 0.5), x].slice(random.integer(0, 1))
    }
    case 9: {
      const [q, k, v] = [rope(pick()), rope(pick()), pick()]
      return [builder.attention(path, q, k, v, { heads, kvHeads: heads, headSize })]
    }
    case 10:
      return randomAttention(builder, random, tables, path, pick())
    default: {
      // Slices of one whole, which overlap at times.
      const whole = builder.linear(path, pick(), 3 * C)
      const start = random.pick([C, C, C - 2])
      const [q, k, v] = [0, start, 2 * C].map((from) => builder.slice(path, whole, from, C))
      const [rotatedQ, rotatedK] = [q, k].map((head) => builder.rope(path, head, tables[0], heads))
      const y = builder.attention(path, rotatedQ, rotatedK, v, { heads, kvHeads: heads, headSize })
      return [q, v, y].slice(random.integer(0, 2))
    }
  }
}

/** Projections in any order, rotated, with readers that come in between. */
function randomAttention(
  builder: GraphBuilder,
  random: Random,
  tables: ValueId[],
  path: string,
  x: ValueId,
): ValueId[] {
  const table = random.pick(tables)
  const interleaved = random.chance(0.5)
  const biased = random.chance(0.5)
  const rotated: Record<string, ValueId> = {}
  const others: ValueId[] = []
  const maybeRead = (value: ValueId) => {
    if (random.chance(0.1)) others.push(builder.scale(path, value, 0.5))
  }
  for (const name of random.shuffle(['q', 'k', 'v'])) {
    const projected = builder.linear(`${path}.${name}`, x, C, { bias: biased })
    maybeRead(projected)
    rotated[name] = name === 'v' ? projected : builder.rope(path, projected, table, heads, interleaved)
    maybeRead(rotated[name])
  }
  const { q, k, v } = rotated
  return [...others, builder.attention(path, q, k, v, { heads, kvHeads: heads, headSize, window: 4 })]
}
