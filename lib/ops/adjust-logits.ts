import { expectIndices, expectMatrix, expectShape } from './check.js'
import type { Tensor } from './tensor.js'

/** What a step changes in the logits before tokens are chosen. */
export interface LogitEdits {
  readonly editStarts: Tensor // (R+1) i32, row r has the edits from editStarts[r] to editStarts[r+1] - 1
  readonly editIds: Tensor // (E) i32, the tokens; each once in a row
  readonly editFactors: Tensor // (E) f32, above 0; 1 leaves the logit
  readonly editOffsets: Tensor // (E) f32, added; -infinity bans
  readonly maskRows: Tensor // (R) i32, the row of `masks` that says which tokens are allowed, -1 for all
  readonly masks: Tensor // (M, ceil(V / 32)) i32, bit id % 32 of number id / 32
}

/**
 * Edits logits, one token each, and bans what a mask leaves out:
 *
 *     x = logits[r, id];  x = x > 0 ? x / factor : x * factor;  x += offset
 *
 * The factor is the repetition penalty of Keskar et al. 2019, https://arxiv.org/abs/1909.05858; offsets are biases, and
 * penalties for a token's presence and frequency.
 *
 * @param logits (R, V) f32
 * @returns (R, V) f32
 * @throws {ShapeError | DTypeError} when a table has another shape or type
 */
export function adjustLogits(logits: Tensor, edits: LogitEdits): Tensor {
  const op = 'adjust-logits'
  const { rows, columns } = expectMatrix(op, 'logits', logits, '(R, V)')
  const { editStarts, editIds, editFactors, editOffsets, maskRows, masks } = edits
  expectShape(op, 'editStarts', editStarts, ['R+1'], 'i32')
  const count = expectIndices(op, 'editIds', editIds, '(E)')
  expectShape(op, 'editFactors', editFactors, [count])
  expectShape(op, 'editOffsets', editOffsets, [count])
  expectShape(op, 'maskRows', maskRows, [rows], 'i32')
  expectShape(op, 'masks', masks, ['M', Math.ceil(columns / 32)], 'i32')
  const { adjusted } = logits.record({
    op,
    inputs: { logits, editStarts, editIds, editFactors, editOffsets, maskRows, masks },
    outputs: { adjusted: { shape: logits.shape, dtype: 'f32' } },
  })
  return adjusted!
}
