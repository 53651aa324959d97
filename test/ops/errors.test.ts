import { describe, expect, it } from 'vitest'
import { DTypeError, ShapeError } from '#kvasir/errors.js'
import {
  add,
  adjustLogits,
  attention,
  embedding,
  experts,
  gatherRows,
  gelu,
  layerNorm,
  linear,
  rmsNorm,
  rope,
  ropeTable,
  sample,
  scale,
  slice,
  slidingWindow,
  softcap,
  softmax,
  split,
  Tensor,
  topLogits,
} from '#kvasir/nn/index.js'
import { matrices, Symbols } from './symbols.js'

type ErrorClass = new (...args: never[]) => Error
type Case = [message: string, error: ErrorClass, wrong: (s: Symbols) => unknown]

const x = (s: Symbols, columns = 768) => s.tensor(['N', columns])
const ids = (s: Symbols) => s.tensor(['N'], 'i32')

const embeddings: Case[] = [
  ['embedding: ids must be i32, got f32', DTypeError, (s) => embedding(s.tensor(['N']), s.parameter(9, 4))],
  [
    'embedding: ids must be (N), got (N, 2)',
    ShapeError,
    (s) => embedding(s.tensor(['N', 2], 'i32'), s.parameter(9, 4)),
  ],
  ['embedding: weight must be (V, C), got (9)', ShapeError, (s) => embedding(ids(s), s.parameter(9))],
  [
    'gather-rows: x must be (N, C), got (N)',
    ShapeError,
    (s) => gatherRows(s.tensor(['N']), s.tensor(['R'], 'i32')),
  ],
  ['gather-rows: rows must be i32, got f32', DTypeError, (s) => gatherRows(x(s), s.tensor(['R']))],
]

const linears: Case[] = [
  [
    'linear: weight must be (3072, 768), got (768, 3072)',
    ShapeError,
    (s) => linear(x(s), s.parameter(768, 3072)),
  ],
  [
    'linear: weight must be (3072, 768), got (768, 3072)',
    ShapeError,
    (s) => linear(x(s), s.parameter(768, 3072), s.parameter(3072)),
  ],
  [
    'linear: x must be (N, 768), got (N, 512)',
    ShapeError,
    (s) => linear(x(s, 512), s.parameter(3072, 768), s.parameter(3072)),
  ],
  ['linear: x must be (N, 768), got (N, 512)', ShapeError, (s) => linear(x(s, 512), s.parameter(3072, 768))],
  ['linear: x must be f32, got i32', DTypeError, (s) => linear(s.tensor(['N', 4], 'i32'), s.parameter(4, 4))],
  ['linear: x must be (N, K), got (N)', ShapeError, (s) => linear(s.tensor(['N']), s.parameter(4, 4))],
  ['linear: weight must be (O, K), got (768)', ShapeError, (s) => linear(x(s), s.parameter(768))],
  [
    'linear: bias must be (3072), got (768)',
    ShapeError,
    (s) => linear(x(s), s.parameter(3072, 768), s.parameter(768)),
  ],
  [
    'linear: x must be a tensor, got undefined',
    TypeError,
    (s) => linear(undefined as never, s.parameter(4, 4)),
  ],
  ['linear: weight must be a tensor, got Array', TypeError, (s) => linear(x(s), [] as never)],
]

const norms: Case[] = [
  [
    'layer-norm: weight must be (768), got (64)',
    ShapeError,
    (s) => layerNorm(x(s), { weight: s.parameter(64) }),
  ],
  [
    'layer-norm: bias must be (768), got (1, 768)',
    ShapeError,
    (s) => layerNorm(x(s), { bias: s.parameter(1, 768) }),
  ],
  [
    'layer-norm: epsilon must be a finite number from 0, got NaN',
    RangeError,
    (s) => layerNorm(x(s), { epsilon: NaN }),
  ],
  [
    'rms-norm: weight must be (768), got (767)',
    ShapeError,
    (s) => rmsNorm(x(s), { weight: s.parameter(767) }),
  ],
  [
    'rms-norm: epsilon must be a finite number from 0, got -1',
    RangeError,
    (s) => rmsNorm(x(s), { epsilon: -1 }),
  ],
  [
    'rms-norm: epsilon must be a number, got "small"',
    TypeError,
    (s) => rmsNorm(x(s), { epsilon: 'small' as never }),
  ],
  ['rms-norm: x must be (N, 5*D), got (N, 768)', ShapeError, (s) => rmsNorm(x(s), { heads: 5 })],
  [
    'rms-norm: weight must be (64), got (768)',
    ShapeError,
    (s) => rmsNorm(x(s), { heads: 12, weight: s.parameter(768) }),
  ],
  [
    'rms-norm: heads must be an integer from 1 to 4096, got 0',
    RangeError,
    (s) => rmsNorm(x(s), { heads: 0 }),
  ],
]

const rest = { chosen: 1, normalised: false, activation: 'silu' } as const

const elementwise: Case[] = [
  ['add: b must be (N, 768), got (N, 64)', ShapeError, (s) => add(x(s), x(s, 64))],
  ['add: b must be (N, 768), got (R, 768)', ShapeError, (s) => x(s).add(s.tensor(['R', 768]))],
  ['add: a must be f32, got i32', DTypeError, (s) => add(ids(s), ids(s))],
  ['activation: up must be (N, 768), got (N, 64)', ShapeError, (s) => gelu(x(s), x(s, 64))],
  [
    'experts: chosen must be an integer from 1 to 3, got 4',
    RangeError,
    (s) => experts(x(s, 8), x(s, 3), { ...matrices(s, 3), ...rest, chosen: 4 }),
  ],
  [
    'experts: logits must be (N, 2), got (N, 3)',
    ShapeError,
    (s) => experts(x(s, 8), x(s, 3), { ...matrices(s, 2), ...rest }),
  ],
  [
    'experts: up[1] must be (5, 8), got (8, 5)',
    ShapeError,
    (s) => {
      const { gate, up, down } = matrices(s, 3)
      return experts(x(s, 8), x(s, 3), { gate, up: [up[0]!, down[1]!, up[2]!], down, ...rest })
    },
  ],
  ['softcap: cap must be a finite number above 0, got 0', RangeError, (s) => softcap(x(s), 0)],
  ['scale: factor must be a finite number, got Infinity', RangeError, (s) => scale(x(s), Infinity)],
  ['softmax: x must be (N, C), got (N, 2, 3)', ShapeError, (s) => softmax(s.tensor(['N', 2, 3]))],
  ['slice: start must be an integer from 0 to 767, got 768', RangeError, (s) => slice(x(s), 768, 1)],
  ['slice: size must be an integer from 1 to 668, got 669', RangeError, (s) => slice(x(s), 100, 669)],
  ['split: x must be (N, 600), got (N, 768)', ShapeError, (s) => split(x(s), [200, 200, 200])],
]

const ropes: Case[] = [
  [
    'rope-table: positions must be i32, got f32',
    DTypeError,
    (s) => ropeTable(s.tensor(['N']), { frequencies: [1] }),
  ],
  [
    'rope-table: frequencies.length must be an integer from 1 to 1048576, got 0',
    RangeError,
    (s) => ropeTable(ids(s), { frequencies: [] }),
  ],
  [
    'rope-table: frequencies[1] must be a finite number, got NaN',
    RangeError,
    (s) => ropeTable(ids(s), { frequencies: [1, NaN] }),
  ],
  [
    'rope: x must be (N, 5*D), got (N, 768)',
    ShapeError,
    (s) => rope(x(s), s.tensor(['N', 64]), { heads: 5 }),
  ],
  [
    'rope: table must be (N, 2P) with 2P <= 64, got (N, 66)',
    ShapeError,
    (s) => rope(x(s), s.tensor(['N', 66]), { heads: 12 }),
  ],
  [
    'rope: table must be (R, 2P) with 2P <= 64, got (N, 64)',
    ShapeError,
    (s) => rope(s.tensor(['R', 768]), s.tensor(['N', 64]), { heads: 12 }),
  ],
  [
    'rope: heads must be an integer from 1 to 1048576, got 0',
    RangeError,
    (s) => rope(x(s), s.tensor(['N', 64]), { heads: 0 }),
  ],
]

const attentions: Case[] = [
  [
    'attention: q must be (N, 7*D), got (N, 768)',
    ShapeError,
    (s) => attention(x(s), x(s), x(s), s.tables, { heads: 7 }),
  ],
  [
    'attention: q must be (N, 12*D), got (R, 768)',
    ShapeError,
    (s) => attention(s.tensor(['R', 768]), x(s), x(s), s.tables, { heads: 12 }),
  ],
  [
    'attention: k must be (N, 256), got (N, 768)',
    ShapeError,
    (s) => attention(x(s), x(s), x(s, 256), s.tables, { heads: 12, kvHeads: 4 }),
  ],
  [
    'attention: v must be (N, 768), got (N, 64)',
    ShapeError,
    (s) => attention(x(s), x(s), x(s, 64), s.tables, { heads: 12 }),
  ],
  [
    'attention: heads must be a multiple of kvHeads (5), got 12',
    RangeError,
    (s) => attention(x(s), x(s), x(s), s.tables, { heads: 12, kvHeads: 5 }),
  ],
  [
    'attention: head size must be an integer from 1 to 256, got 768',
    RangeError,
    (s) => attention(x(s), x(s), x(s), s.tables, { heads: 1 }),
  ],
  [
    'attention: slopes must be (12), got (3)',
    ShapeError,
    (s) => attention(x(s), x(s), x(s), s.tables, { heads: 12, slopes: s.tensor([3]) }),
  ],
  [
    'attention: blockTables must be i32, got undefined',
    DTypeError,
    (s) => attention(x(s), x(s), x(s), { ...s.tables, blockTables: { shape: [] } as never }, { heads: 12 }),
  ],
  [
    'attention: softcap must be a finite number from 0, got -1',
    RangeError,
    (s) => attention(x(s), x(s), x(s), s.tables, { heads: 12, softcap: -1 }),
  ],
  [
    'attention: mask.window must be an integer from 0 to 2147483647, got 0.5',
    RangeError,
    (s) => attention(x(s), x(s), x(s), s.tables, { heads: 12, mask: { window: 0.5 } }),
  ],
  [
    'slidingWindow: window must be an integer from 1 to 2147483647, got 0',
    RangeError,
    () => slidingWindow(0),
  ],
]

const edits = (s: Symbols) => ({
  editStarts: s.tensor(['R+1'], 'i32'),
  editIds: s.tensor(['E'], 'i32'),
  editFactors: s.tensor(['E']),
  editOffsets: s.tensor(['E']),
  maskRows: s.tensor(['R'], 'i32'),
  masks: s.tensor(['M', 2], 'i32'),
})

const samplings: Case[] = [
  ['sample: logits must be (R, V), got (R)', ShapeError, (s) => sample(s.tensor(['R']), {} as never)],
  [
    'sample: temperature must be (R), got (N)',
    ShapeError,
    (s) => sample(s.tensor(['R', 9]), { temperature: s.tensor(['N']) } as never),
  ],
  [
    'adjust-logits: masks must be (M, 2), got (M, 1)',
    ShapeError,
    (s) => adjustLogits(s.tensor(['R', 33]), { ...edits(s), masks: s.tensor(['M', 1], 'i32') }),
  ],
  [
    'adjust-logits: editOffsets must be (E), got (R)',
    ShapeError,
    (s) => adjustLogits(s.tensor(['R', 33]), { ...edits(s), editOffsets: s.tensor(['R']) }),
  ],
  [
    'graph: vocabSize of masks must be given, got undefined',
    RangeError,
    (s) => Tensor.input(s.recording, 'masks'),
  ],
  [
    'top-logits: allowed must be (R, 9), got (R, 8)',
    ShapeError,
    (s) => topLogits(s.tensor(['R', 9]), s.tensor(['R', 8]), s.tensor(['R'], 'i32'), { most: 5 }),
  ],
  [
    'top-logits: most must be an integer from 1 to 256, got 257',
    RangeError,
    (s) => topLogits(s.tensor(['R', 9]), s.tensor(['R', 9]), s.tensor(['R'], 'i32'), { most: 257 }),
  ],
]

const parameters: Case[] = [
  [
    'parameter: shape must be positive integers with a product below 2^53, got "4 x 0"',
    RangeError,
    (s) => s.parameter(4, 0),
  ],
  [
    'parameter: shape must be positive integers with a product below 2^53, got "1.5"',
    RangeError,
    (s) => s.parameter(1.5),
  ],
  [
    'parameter: shape must be positive integers with a product below 2^53, got "9007199254740991 x 2"',
    RangeError,
    (s) => s.parameter(2 ** 53 - 1, 2),
  ],
]

const codes = new Map<ErrorClass, string>([
  [ShapeError, 'ERR_SHAPE'],
  [DTypeError, 'ERR_DTYPE'],
  [TypeError, 'ERR_INVALID_ARG_TYPE'],
  [RangeError, 'ERR_INVALID_ARG_VALUE'],
])

const cases = { embeddings, linears, norms, elementwise, ropes, attentions, samplings, parameters }

describe.each(Object.entries(cases))('wrong arguments of %s', (_, list) => {
  it.each(list)('%s', (message, ErrorClass, wrong) => {
    const symbols = new Symbols()
    let error: unknown
    try {
      wrong(symbols)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(ErrorClass)
    expect(error).toMatchObject({ message, code: codes.get(ErrorClass) })
    expect(symbols.graph.nodes.filter(({ op }) => op !== 'given')).toEqual([])
  })
})

describe('tensors of two recordings', () => {
  it('do not meet', () => {
    const [one, other] = [new Symbols(), new Symbols()]
    expect(() => x(one).add(x(other))).toThrow('add: b must be of this recording, got one of another')
  })

  it('nor does a parameter that the model does not hold', () => {
    const [one, other] = [new Symbols(), new Symbols()]
    expect(() => linear(x(one), other.parameter(768, 768))).toThrow(
      "linear: weight must be a parameter that the model's fields lead to, got one made elsewhere",
    )
  })
})
