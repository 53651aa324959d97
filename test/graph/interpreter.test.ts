import { describe, expect, it } from 'vitest'
import type { Graph, Node } from '#kvasir/graph/graph.js'
import { Interpreter } from '#kvasir/graph/interpreter.js'
import { evaluate } from './evaluate.js'
import { GraphBuilder } from './graph-builder.js'

const ints = (...numbers: number[]) => Int32Array.from(numbers)

function expectClose(found: number[], expected: number[], error = 1e-15): void {
  expect(found).toHaveLength(expected.length)
  found.forEach((number, i) => {
    expect(Math.abs(number - expected[i]), `${number} against ${expected[i]}`).toBeLessThanOrEqual(error)
  })
}

describe('rows and columns', () => {
  const x = [
    [1, 2, 3],
    [4, 5, 6],
  ]

  it('embedding takes the rows of its ids', () => {
    const tables = { ids: ['tokens', ints(1, 0, 1)] as ['tokens', Int32Array] }
    expect(evaluate('embedding', { floats: { weight: x }, tables, outputs: { y: ['N', 3] } }).y).toEqual([
      4, 5, 6, 1, 2, 3, 4, 5, 6,
    ])
  })

  it('embedding refuses ids outside its table', () => {
    for (const id of [-1, 2]) {
      const tables = { ids: ['tokens', ints(0, id)] as ['tokens', Int32Array] }
      const run = () => evaluate('embedding', { floats: { weight: x }, tables, outputs: { y: ['N', 3] } })
      expect(run).toThrow(`embedding: ids[1] must be from 0 to 1, got ${id}`)
    }
  })

  it('gather-rows takes rows', () => {
    const tables = { rows: ['outputRows', ints(1)] as ['outputRows', Int32Array] }
    expect(evaluate('gather-rows', { floats: { x }, tables, outputs: { y: ['R', 3] } }).y).toEqual([4, 5, 6])
  })

  it('slice takes columns', () => {
    const attributes = { start: 1, size: 2 }
    expect(evaluate('slice', { floats: { x }, attributes, outputs: { y: [2, 2] } }).y).toEqual([2, 3, 5, 6])
    const outside = () =>
      evaluate('slice', { floats: { x }, attributes: { start: 2, size: 2 }, outputs: { y: [2, 2] } })
    expect(outside).toThrow('slice: start and size must be within 3 columns, got "2 and 2"')
  })

  it('add and scale', () => {
    const b = [
      [10, 20, 30],
      [40, 50, 60],
    ]
    expect(evaluate('add', { floats: { a: x, b }, outputs: { y: [2, 3] } }).y).toEqual([
      11, 22, 33, 44, 55, 66,
    ])
    const attributes = { factor: -0.5 }
    const scaled = evaluate('scale', { floats: { x }, attributes, outputs: { y: [2, 3] } }).y
    expect(scaled).toEqual([-0.5, -1, -1.5, -2, -2.5, -3])
  })

  it('softmax of logarithms is their shares', () => {
    const logits = [[1, 2, 5].map(Math.log), [1000, 1000 + Math.log(3), -Infinity]]
    const { y } = evaluate('softmax', { floats: { x: logits }, outputs: { y: [2, 3] } })
    expectClose(y, [0.125, 0.25, 0.625, 0.25, 0.75, 0], 1e-13)
  })
})

describe('linear', () => {
  const x = [
    [1, 2, 3, 4, 5],
    [-1, 0, 1, 0, -1],
  ]
  const weight = [
    [1, 0, 0, 0, 1],
    [0, -1, 1, -1, 0],
  ]

  it('multiplies by the rows of its weight and adds the bias', () => {
    const attributes = { activation: 'none', gated: false }
    expect(evaluate('linear', { floats: { x, weight }, attributes, outputs: { y: [2, 2] } }).y).toEqual([
      6, -3, -2, 1,
    ])
    const floats = { x, weight, bias: [0.5, 10] }
    expect(evaluate('linear', { floats, attributes, outputs: { y: [2, 2] } }).y).toEqual([6.5, 7, -1.5, 11])
  })

  it('activates before it adds the residual', () => {
    const residual = [
      [100, 200],
      [300, 400],
    ]
    const attributes = { activation: 'relu', gated: false }
    const { y } = evaluate('linear', { floats: { x, weight, residual }, attributes, outputs: { y: [2, 2] } })
    expect(y).toEqual([106, 200, 300, 401])
  })

  it('gated: activates the first half of its rows and multiplies by the second', () => {
    const gateThenUp = [...weight, [1, 1, 1, 1, 1], [2, 0, 0, 0, 0]]
    const floats = {
      x,
      weight: gateThenUp,
      bias: [0, 4, 1, 0],
      residual: [
        [1, 1],
        [1, 1],
      ],
    } // gate's, then up's
    const attributes = { activation: 'relu', gated: true }
    const { y } = evaluate('linear', { floats, attributes, outputs: { y: [2, 2] } })
    // gates 6, 1 and -2, 5; ups 16, 2 and 0, -2
    expect(y).toEqual([6 * 16 + 1, 1 * 2 + 1, 0 * 0 + 1, 5 * -2 + 1])
  })
})

describe('norms', () => {
  const x = [
    [1, 2, 3, 4],
    [5, 5, 5, 5],
  ]

  it('layer-norm has mean 0 and variance 1, then weight and bias', () => {
    const plain = evaluate('layer-norm', {
      floats: { x },
      attributes: { epsilon: 1 },
      outputs: { y: [2, 4] },
    })
    // mean 2.5, variance 1.25
    expectClose(plain.y, [-1, -1 / 3, 1 / 3, 1, 0, 0, 0, 0])
    const floats = { x, weight: [1, 3, 6, 2], bias: [0, 0, 1, -1] }
    const { y } = evaluate('layer-norm', { floats, attributes: { epsilon: 1 }, outputs: { y: [2, 4] } })
    expectClose(y, [-1, -1, 3, 1, 0, 0, 1, -1])
  })

  it('rms-norm has mean square 1, then weight', () => {
    const floats = { x: [[3, 4, 0, 0]], weight: [1, 2, 3, 4] }
    const { y } = evaluate('rms-norm', { floats, attributes: { epsilon: 0 }, outputs: { y: [1, 4] } })
    expectClose(y, [1.2, 3.2, 0, 0]) // the mean square is 25/4
    const damped = evaluate('rms-norm', {
      floats: { x: [[3, 4, 0, 0]] },
      attributes: { epsilon: 29.75 },
      outputs: { y: [1, 4] },
    })
    expectClose(damped.y, [0.5, 2 / 3, 0, 0]) // and 29.75 + 6.25 = 6^2
  })

  it.each(['layer-norm', 'rms-norm'])('%s adds a residual first and gives the sum', (op) => {
    const residual = [
      [4, 2, 0, -2],
      [1, 0, 0, 0],
    ]
    const sums = [5, 4, 3, 2, 6, 5, 5, 5]
    const outputs = { y: [2, 4], sum: [2, 4] }
    const fused = evaluate(op, { floats: { x, residual }, attributes: { epsilon: 1e-3 }, outputs })
    expect(fused.sum).toEqual(sums)
    const floats = { x: [sums.slice(0, 4), sums.slice(4)] }
    expect(evaluate(op, { floats, attributes: { epsilon: 1e-3 }, outputs: { y: [2, 4] } }).y).toEqual(fused.y)
  })
})

describe('rotary positions', () => {
  it('rope-table holds cosines, then sines, times the magnitude', () => {
    const { y } = evaluate('rope-table', {
      tables: { positions: ['positions', ints(0, 3)] },
      attributes: { frequencies: [Math.PI / 6, Math.PI / 3], magnitude: 2 },
      outputs: { y: ['N', 4] },
    })
    expectClose(y, [2, 2, 0, 0, 0, -2, 2, 0])
  })

  const quarterTurns = [
    [0, -1, 1, 0], // pair 0 by 90 degrees, pair 1 by 180
    [-1, 0, 0, 1],
  ]

  it('rope turns halves', () => {
    const x = [
      [1, 2, 3, 4, 9, 10, 20, 30, 40, 90],
      [1, 2, 3, 4, 9, 10, 20, 30, 40, 90],
    ]
    const attributes = { heads: 2, headSize: 5, interleaved: false }
    const { y } = evaluate('rope', {
      floats: { x, table: quarterTurns },
      attributes,
      outputs: { y: [2, 10] },
    })
    // (a,b) -> (-b,a) by 90 degrees; the fifth channel is beyond the pairs
    expect(y).toEqual([-3, -2, 1, -4, 9, -30, -20, 10, -40, 90, -1, -4, -3, 2, 9, -10, -40, -30, 20, 90])
  })

  it('rope turns neighbours where it is interleaved', () => {
    const attributes = { heads: 1, headSize: 5, interleaved: true }
    const floats = { x: [[1, 2, 3, 4, 9]], table: quarterTurns.slice(0, 1) }
    expect(evaluate('rope', { floats, attributes, outputs: { y: [1, 5] } }).y).toEqual([-2, 1, -3, -4, 9])
  })
})

describe('activation', () => {
  const points = [-3, -1, 0, 0.5, 2]
  // Written differently from the rules where they could be: logistic through tanh, tanh through powers of e.
  const logistic = (x: number) => (1 + Math.tanh(x / 2)) / 2
  const truths: Record<string, number[]> = {
    relu: [0, 0, 0, 0.5, 2],
    silu: points.map((x) => x * logistic(x)),
    'gelu-tanh': points.map(
      (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
    ),
    // x times the normal distribution's CDF, from its tables
    gelu: [
      -3 * 0.0013498980316301,
      -1 * 0.15865525393145705,
      0,
      0.5 * 0.6914624612740131,
      2 * 0.9772498680518208,
    ],
  }

  it.each(Object.keys(truths))('%s', (kind) => {
    const floats = { x: [points] }
    const { y } = evaluate('activation', { floats, attributes: { kind }, outputs: { y: [1, 5] } })
    expectClose(y, truths[kind], 1e-15)
    const up = [[2, -1, 7, 0, 10]]
    const gated = evaluate('activation', {
      floats: { ...floats, up },
      attributes: { kind },
      outputs: { y: [1, 5] },
    })
    expectClose(
      gated.y,
      truths[kind].map((number, i) => number * up[0][i]),
      1e-14,
    )
  })

  it.each(Object.keys(truths))('%s takes infinities to their limits and keeps NaN', (kind) => {
    const floats = { x: [[-Infinity, Infinity, NaN, -1e4, 1e4]] }
    const { y } = evaluate('activation', { floats, attributes: { kind }, outputs: { y: [1, 5] } })
    expect(y.map((number) => number + 0)).toEqual([0, Infinity, NaN, 0, 1e4])
  })

  it('refuses an unknown kind', () => {
    const run = () =>
      evaluate('activation', { floats: { x: [[1]] }, attributes: { kind: 'swish' }, outputs: { y: [1, 1] } })
    expect(run).toThrow('activation: kind must be one of none, relu, gelu, gelu-tanh, silu, got swish')
  })
})

describe('an interpreter', () => {
  function twoEmbeddings(): Graph {
    const b = new GraphBuilder()
    const tokens = b.embedding('wte', b.input('tokens'), b.weight('wte.weight', [2, 2]))
    const positions = b.embedding('wpe', b.input('positions'), b.weight('wpe.weight', [2, 2]))
    return b.finish({ sum: b.add('', tokens, positions) })
  }
  const weights = (name: string) => Float32Array.from(name === 'wte.weight' ? [1, 2, 3, 4] : [10, 20, 30, 40])

  it('gives outputs by name, shows every node and asks for a parameter once', () => {
    const asked: string[] = []
    const seen: string[] = []
    const interpreter = new Interpreter(twoEmbeddings(), {
      weights: (name) => {
        asked.push(name)
        return weights(name)
      },
      onNode: (node: Node, outputs) =>
        seen.push(`${node.op} ${node.name} ${outputs.y.shape} ${outputs.y.data}`),
    })
    const inputs = { tokens: ints(0, 1), positions: ints(1, 1), temperature: Float32Array.of(1) }
    expect(interpreter.run(inputs)).toEqual({ sum: Float64Array.of(31, 42, 33, 44) })
    interpreter.run(inputs)
    expect(asked).toEqual(['wte.weight', 'wpe.weight'])
    expect(seen.slice(0, 3)).toEqual([
      'embedding wte 2,2 1,2,3,4',
      'embedding wpe 2,2 30,40,30,40',
      'add  2,2 31,42,33,44',
    ])
  })

  it('names what is wrong with its inputs', () => {
    const interpreter = new Interpreter(twoEmbeddings(), { weights })
    expect(() => interpreter.run({ tokens: ints(0) })).toThrow(
      'run: inputs.positions must be an Int32Array, got undefined',
    )
    expect(() => interpreter.run({ tokens: Float32Array.of(0), positions: ints(0) })).toThrow(
      'run: inputs.tokens must be an Int32Array, got Float32Array',
    )
    expect(() => interpreter.run({ tokens: ints(0, 1), positions: ints(0) })).toThrow(
      'run: inputs.positions must be (2), got 1 elements',
    )
  })

  it('names a weight of the wrong size', () => {
    const interpreter = new Interpreter(twoEmbeddings(), { weights: () => new Float64Array(3) })
    expect(() => interpreter.run({ tokens: ints(0), positions: ints(0) })).toThrow(
      'weight: wte.weight must have 4 elements, got 3',
    )
  })

  it('names an unknown op, and a result that is not as declared', () => {
    expect(() => evaluate('conv', { outputs: { y: [1] } })).toThrow(
      /graph: op of here must be one of .*, got conv/,
    )
    expect(() => evaluate('add', { floats: { a: [[1]], b: [[1]] }, outputs: { y: [2, 1] } })).toThrow(
      'add: y of here must be (2, 1), got 1 elements',
    )
    expect(() => evaluate('add', { floats: { a: [[1]] }, outputs: { y: [1, 1] } })).toThrow(
      'add: b must be given, got nothing',
    )
    expect(() => evaluate('scale', { floats: { x: [[1]] }, outputs: { y: [1, 1] } })).toThrow(
      'scale: factor must be a number, got undefined',
    )
  })

  it('stacks merged weights row after row', () => {
    const b = new GraphBuilder()
    const x = b.embedding('wte', b.input('tokens'), b.weight('wte.weight', [1, 2]))
    const y = b.linear('qk', x, 3)
    const graph = b.finish({ y })
    const weight = graph.values.find((value) => value.name === 'qk.weight')!
    weight.parts = [
      { parameter: 'q.weight', rows: 1 },
      { parameter: 'k.weight', rows: 2 },
    ]
    const parameters: Record<string, number[]> = {
      'wte.weight': [1, 10],
      'q.weight': [1, 2],
      'k.weight': [3, 4, 5, 6],
    }
    const interpreter = new Interpreter(graph, { weights: (name) => Float64Array.from(parameters[name]) })
    expect(interpreter.run({ tokens: ints(0) }).y).toEqual(Float64Array.of(21, 43, 65))
  })
})
