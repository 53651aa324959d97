import type { Dim } from '../graph/graph.js'
import { expectMatrix, expectShape } from './check.js'
import type { Tensor } from './tensor.js'

/** A row's say in how its token is chosen. */
export interface SamplingTables {
  readonly temperature: Tensor // (R) f32, from 0; 0 takes the largest logit
  readonly topK: Tensor // (R) i32, 0 for all
  readonly topP: Tensor // (R) f32, in (0, 1]
  readonly minP: Tensor // (R) f32, in [0, 1]
  readonly seed: Tensor // (R, 2) i32, low word and high word
  readonly counter: Tensor // (R) i32, the position that the token will have
}

/** What more a row may say, where a program knows it. */
export interface SamplingControls {
  readonly adjusted: Tensor // (R, V) f32, the logits that tokens are chosen from
  readonly typicalP: Tensor // (R) f32, in (0, 1]; 1 for all
  readonly forced: Tensor // (R) i32, the token that is taken whatever the logits; -1 to choose
}

/**
 * Chooses a token for each row: softmax of logits / temperature, cut to the top_k most probable, to the typical ones
 * (Meister et al. 2023, https://arxiv.org/abs/2202.00666), to the shortest list that reaches top_p, and to what has min_p
 * of the best; from what is left, by a random number that depends on the row's seed and counter alone.
 *
 * @param logits (R, V) f32, the model's own
 * @returns ids (R) i32, -1 for a row with nothing to choose from; logprobs (R) f32 of the unchanged logits
 * @throws {ShapeError | DTypeError} when a table does not have a row for each of the logits
 */
export function sample(
  logits: Tensor,
  tables: SamplingTables,
  controls?: SamplingControls,
): { ids: Tensor; logprobs: Tensor } {
  const { rows } = expectMatrix('sample', 'logits', logits, '(R, V)')
  const { temperature, topK, topP, minP, seed, counter } = tables
  expectShape('sample', 'temperature', temperature, [rows])
  expectShape('sample', 'topK', topK, [rows], 'i32')
  expectShape('sample', 'topP', topP, [rows])
  expectShape('sample', 'minP', minP, [rows])
  expectShape('sample', 'seed', seed, [rows, 2], 'i32')
  expectShape('sample', 'counter', counter, [rows], 'i32')
  if (controls) expectControls(logits, rows, controls)
  return logits.record({
    op: 'sample',
    inputs: { logits, temperature, topK, topP, minP, seed, counter, ...controls },
    outputs: { ids: { shape: [rows], dtype: 'i32' }, logprobs: { shape: [rows], dtype: 'f32' } },
  })
}

function expectControls(logits: Tensor, rows: Dim, { adjusted, typicalP, forced }: SamplingControls): void {
  expectShape('sample', 'adjusted', adjusted, logits.shape)
  expectShape('sample', 'typicalP', typicalP, [rows])
  expectShape('sample', 'forced', forced, [rows], 'i32')
}
