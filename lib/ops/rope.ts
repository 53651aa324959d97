import { invalidValue } from '../errors.js'
import { expectInteger, expectMatrix, shapeMismatch } from './check.js'
import type { Tensor } from './tensor.js'

/**
 * Rotary position embedding of the first 2P of D channels of every head; the others stay as they are.
 *
 *     a' = a cos - b sin,  b' = b cos + a sin   for the pair (a, b) of index i in [0, P):
 *     half-split    channels i and i + P
 *     interleaved   channels 2i and 2i + 1
 *
 * Su et al. 2021, https://arxiv.org/abs/2104.09864
 *
 * @param x (N, H*D) f32, a row being [head][channel]
 * @param table (N, 2P) of `ropeTable`, 2P <= D
 * @param options.heads H
 * @param options.interleaved which channels make a pair; half-split where absent
 * @returns (N, H*D) f32
 * @throws {ShapeError} when x is not whole heads, or the table has other rows or more channels than a head
 * @throws {DTypeError} when one is not f32
 * @throws {RangeError} when heads is not an integer from 1
 */
export function rope(x: Tensor, table: Tensor, options: { heads: number; interleaved?: boolean }): Tensor {
  const { heads, interleaved = false } = options
  const { rows, columns } = expectMatrix('rope', 'x', x, '(N, H*D)')
  expectInteger('rope', 'heads', heads, 1, 2 ** 20)
  if (columns % heads !== 0) throw shapeMismatch('rope', 'x', `(${rows}, ${heads}*D)`, x.shape)
  const headSize = columns / heads
  const { rows: tableRows, columns: rotated } = expectMatrix('rope', 'table', table, '(N, 2P)')
  if (tableRows !== rows || rotated > headSize || rotated % 2 !== 0)
    throw shapeMismatch('rope', 'table', `(${rows}, 2P) with 2P <= ${headSize}`, table.shape)
  if (typeof interleaved !== 'boolean') throw invalidValue('rope: interleaved', 'true or false', interleaved)
  return x.record({
    op: 'rope',
    name: x.recording.scope === '' ? 'rope' : `${x.recording.scope}.rope`,
    inputs: { x, table },
    outputs: { y: { shape: x.shape, dtype: 'f32' } },
    attributes: { heads, headSize, interleaved },
  }).y
}
