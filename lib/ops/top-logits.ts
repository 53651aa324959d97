import { expectInteger, expectMatrix, expectShape } from './check.js'
import type { Tensor } from './tensor.js'

/**
 * Lists the likeliest tokens of each row: the `counts[r]` largest of `allowed`, in descending order, lower ids first among
 * equals, without those at -infinity; each with its log probability by `logits`.
 *
 * @param logits (R, V) f32, the model's own
 * @param allowed (R, V) f32, as `adjustLogits` gives them
 * @param counts (R) i32, from 0 to `most`
 * @returns topIds (R, most) i32 and topLogprobs (R, most) f32; after a row's last token -1 and -infinity
 * @throws {ShapeError | DTypeError} when matrices or counts do not have a row for each other
 */
export function topLogits(
  logits: Tensor,
  allowed: Tensor,
  counts: Tensor,
  { most }: { most: number },
): { topIds: Tensor; topLogprobs: Tensor } {
  const op = 'top-logits'
  const { rows } = expectMatrix(op, 'logits', logits, '(R, V)')
  expectShape(op, 'allowed', allowed, logits.shape)
  expectShape(op, 'counts', counts, [rows], 'i32')
  expectInteger(op, 'most', most, 1, mostListed)
  return logits.record({
    op,
    inputs: { logits, allowed, counts },
    outputs: {
      topIds: { shape: [rows, most], dtype: 'i32' },
      topLogprobs: { shape: [rows, most], dtype: 'f32' },
    },
    attributes: { most },
  })
}

/** Kernels keep a row's list in fast memory. */
const mostListed = 256
