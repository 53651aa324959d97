import { invalidValue } from '../errors.js'
import { expectInteger, expectMatrix, expectNumber, expectShape, shapeMismatch } from './check.js'
import type { Tensor } from './tensor.js'

/** Which sequences a step's tokens belong to, and where their keys and values lie in the paged cache. */
export interface StepTables {
  readonly queryStarts: Tensor // (S+1)
  readonly contextLengths: Tensor // (S)
  readonly blockTables: Tensor // (S,W)
}

/** How far back a query sees. */
export interface Mask {
  /** Positions, its own included; 0 for all before it. */
  readonly window: number
}

export interface AttentionOptions {
  /** Query heads, H. */
  heads: number
  /** Key/value heads, KH, a divisor of H: H by default. With one it is multi-query, between them grouped-query. */
  kvHeads?: number
  /** Factor on the scores: 1 / sqrt(D) by default. */
  scale?: number
  /** `causal` by default, or `slidingWindow(n)`. */
  mask?: Mask
  /** Where set, scores become softcap * tanh(scores / softcap). */
  softcap?: number
  /** (H) ALiBi slopes, a constant. */
  slopes?: Tensor | null
}

const maxHeadSize = 256 // of the kernels

/**
 * Causal attention over all positions of each sequence so far, those of earlier steps included.
 *
 *     s[n,h,j]  = scale * dot(q[n,h,:], k[j,h/G,:])           G = H / KH query heads share a key/value head
 *     s         = softcap * tanh(s / softcap)                  where softcap is set
 *     s[n,h,j] += slopes[h] * (j - p)                          where slopes is set, p being the query's position
 *     y[n,h,:]  = sum_j softmax_j(s[n,h,j]) v[j,h/G,:]         over j in (p - window, p], or [0, p]
 *
 * The i-th attention that a model records owns layer i of the cache. Vaswani et al. 2017,
 * https://arxiv.org/abs/1706.03762; grouped heads: Ainslie et al. 2023, https://arxiv.org/abs/2305.13245; ALiBi:
 * Press et al. 2021, https://arxiv.org/abs/2108.12409
 *
 * @param q (N, H*D) f32, a row being [head][channel]; D is at most 256
 * @param k (N, KH*D) f32
 * @param v (N, KH*D) f32
 * @param tables the step itself has them
 * @returns (N, H*D) f32
 * @throws {ShapeError} when q, k, v or slopes do not fit the heads or each other
 * @throws {DTypeError} when one has another dtype
 * @throws {RangeError} when heads is not a multiple of kvHeads, a head too large, or a number out of range
 */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  tables: StepTables,
  options: AttentionOptions,
): Tensor {
  const { heads, kvHeads = heads, mask, softcap = 0, slopes } = options
  const { queryStarts, contextLengths, blockTables } = tables
  const headSize = checkHeads(q, heads, kvHeads)
  const kvShape = ['N', kvHeads * headSize] as const
  expectShape('attention', 'k', k, kvShape)
  expectShape('attention', 'v', v, kvShape)
  if (slopes) expectShape('attention', 'slopes', slopes, [heads])
  expectShape('attention', 'queryStarts', queryStarts, ['S+1'], 'i32')
  expectShape('attention', 'contextLengths', contextLengths, ['S'], 'i32')
  expectShape('attention', 'blockTables', blockTables, ['S', 'W'], 'i32')
  const { scale = 1 / Math.sqrt(headSize) } = options
  const window = mask?.window ?? 0
  expectNumber('attention', 'scale', scale)
  expectNumber('attention', 'softcap', softcap, { from: 0 })
  expectInteger('attention', 'mask.window', window, 0, 2 ** 31 - 1)
  const layer = q.recording.nextAttentionLayer()
  return q.record({
    op: 'attention',
    inputs: { q, k, v, slopes, queryStarts, contextLengths, blockTables },
    outputs: { y: { shape: q.shape, dtype: 'f32' } },
    attributes: { layer, heads, kvHeads, headSize, scale, softcap, window },
  }).y
}

/** The head size. */
function checkHeads(q: Tensor, heads: number, kvHeads: number): number {
  expectInteger('attention', 'heads', heads, 1, 2 ** 20)
  expectInteger('attention', 'kvHeads', kvHeads, 1, 2 ** 20)
  if (heads % kvHeads !== 0)
    throw invalidValue('attention: heads', `a multiple of kvHeads (${kvHeads})`, heads)
  const { rows, columns } = expectMatrix('attention', 'q', q, '(N, H*D)')
  if (rows !== 'N' || columns % heads !== 0) throw shapeMismatch('attention', 'q', `(N, ${heads}*D)`, q.shape)
  expectInteger('attention', 'head size', columns / heads, 1, maxHeadSize)
  return columns / heads
}
