import { describe, expect, it } from 'vitest'
import { Recording } from '#kvasir/graph/recording.js'
import {
  alibi,
  noPositions,
  type Positions,
  type RotaryOptions,
  rotary,
  Step,
  sinusoidal,
} from '#kvasir/nn/index.js'
import { alibiSlopes } from '#kvasir/nn/positions.js'
import { Tensor } from '#kvasir/ops/tensor.js'

/** A step with one tensor of it. */
function start(columns: number) {
  const recording = new Recording()
  const { y } = recording.node({
    op: 'given',
    inputs: {},
    outputs: { y: { shape: ['N', columns], dtype: 'f32' } },
  })
  return { step: new Step(recording), x: new Tensor(recording, y!), graph: recording.graph }
}

const ops = ({ nodes }: { nodes: { op: string }[] }) => nodes.map(({ op }) => op).slice(1)

describe('sinusoidal', () => {
  it('adds waves from a constant table', () => {
    const { step, x, graph } = start(6)
    const positions = sinusoidal(50, 6)
    positions.forward(positions.forward(x, step), step)
    expect(ops(graph)).toEqual(['embedding', 'add', 'embedding', 'add'])
    const tables = graph.values.filter(({ kind }) => kind === 'constant')
    expect(tables).toHaveLength(1)
    expect(tables[0]).toMatchObject({ name: 'sinusoidal', shape: [50, 6], dtype: 'f32' })
    const data = tables[0]!.data!
    for (let p = 0; p < 50; p++) {
      for (let i = 0; i < 3; i++) {
        const angle = p / 10000 ** ((2 * i) / 6)
        expect(data[p * 6 + 2 * i]).toBeCloseTo(Math.sin(angle), 6)
        expect(data[p * 6 + 2 * i + 1]).toBeCloseTo(Math.cos(angle), 6)
      }
    }
  })

  it('has a last sine for an odd size', () => {
    const { step, x, graph } = start(3)
    sinusoidal(4, 3).forward(x, step)
    const { data } = graph.values.find(({ kind }) => kind === 'constant')!
    expect(data![2 * 3 + 2]).toBeCloseTo(Math.sin(2 / 10000 ** (2 / 3)), 7)
  })

  it('is bounded before memory grows', () => {
    expect(() => sinusoidal(2 ** 20, 128)).toThrow(
      'sinusoidal: count * size must be at most 2^26, got 134217728',
    )
    expect(() => sinusoidal(1e12, 1)).toThrow('sinusoidal: count must be an integer from 1 to 67108864')
  })
})

describe('alibi', () => {
  it.each([
    [1, [2 ** -8]],
    [4, [2 ** -2, 2 ** -4, 2 ** -6, 2 ** -8]],
    [6, [2 ** -2, 2 ** -4, 2 ** -6, 2 ** -8, 2 ** -1, 2 ** -3]],
    [8, [1, 2, 3, 4, 5, 6, 7, 8].map((h) => 2 ** -h)],
  ])('has the slopes of the paper for %i heads', (heads, slopes) => {
    expect(alibiSlopes(heads)).toEqual(slopes)
  })

  it('gives attention one constant for all layers', () => {
    const { step, x, graph } = start(8)
    const positions = alibi()
    expect(positions.slopes(step, 4)!.shape).toEqual([4])
    expect(alibi().slopes(step, 4)!.value).toBe(positions.slopes(step, 4)!.value)
    expect(graph.values.filter(({ kind }) => kind === 'constant')).toHaveLength(1)
    expect(positions.forward(x, step)).toBe(x)
    expect(positions.rotate(x, step, 2)).toBe(x)
  })
})

describe('rotary', () => {
  const attributesOf = (options: RotaryOptions) => {
    const { step, x, graph } = start(64)
    rotary(options).rotate(x, step, 4)
    return graph.nodes.slice(1).map(({ attributes }) => attributes)
  }

  it('rotates all channels of a head, halves against each other', () => {
    const frequencies = Array.from({ length: 8 }, (_, i) => 1 / 10000 ** (i / 8))
    expect(attributesOf({})).toEqual([
      { frequencies, magnitude: 1 },
      { heads: 4, headSize: 16, interleaved: false },
    ])
  })

  it('rotates some channels, in neighbouring pairs', () => {
    const [table, rope] = attributesOf({ theta: 500, partial: 0.25, interleaved: true })
    expect(table).toEqual({ frequencies: [1, 1 / 500 ** 0.5], magnitude: 1 })
    expect(rope).toEqual({ heads: 4, headSize: 16, interleaved: true })
  })

  it('rotates a count of channels that was given as a share', () => {
    const { step, x, graph } = start(44)
    rotary({ partial: 30 / 44 }).rotate(x, step, 1)
    expect(graph.nodes[1]!.attributes.frequencies).toHaveLength(15)
  })

  it('shares one table between layers and between queries and keys', () => {
    const { step, x, graph } = start(64)
    for (let layer = 0; layer < 3; layer++) {
      const positions = rotary()
      positions.rotate(x, step, 4)
      positions.rotate(x, step, 4)
    }
    expect(ops(graph).filter((op) => op === 'rope-table')).toHaveLength(1)
    expect(ops(graph).filter((op) => op === 'rope')).toHaveLength(6)
  })

  it.each<[string, () => unknown]>([
    ['rotary: theta must be a finite number above 1, got 1', () => rotary({ theta: 1 })],
    ['rotary: theta must be a finite number above 1, got NaN', () => rotary({ theta: Number.NaN })],
    ['rotary: partial must be a finite number above 0 to 1, got 1.5', () => rotary({ partial: 1.5 })],
    [
      'rotary: scaling must be a function such as linearScaling(2), got 2',
      () => rotary({ scaling: 2 as never }),
    ],
    [
      'rotary: rotated channels of a head must be a positive even number, got 15',
      () => {
        const { step, x } = start(30)
        rotary().rotate(x, step, 2)
      },
    ],
    [
      'rotary: x must be (N, 7*D), got (N, 30)',
      () => {
        const { step, x } = start(30)
        rotary().rotate(x, step, 7)
      },
    ],
  ])('%s', (message, wrong) => {
    expect(wrong).toThrow(message)
  })
})

describe('noPositions', () => {
  it('leaves everything as it is', () => {
    const { step, x, graph } = start(8)
    const positions: Positions = noPositions()
    expect(positions.forward(x, step)).toBe(x)
    expect(positions.rotate(x, step, 2)).toBe(x)
    expect(positions.slopes(step, 2)).toBe(null)
    expect(ops(graph)).toEqual([])
  })
})
