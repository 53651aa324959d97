import type { ActivationKind } from './activation.js'
import { expectInteger, expectMatrix, expectShape, shapeMismatch } from './check.js'
import type { Parameter, Tensor } from './tensor.js'

const maxExperts = 1024 // of the kernels

export interface ExpertsOptions {
  /** A (F, C) for each expert. */
  gate: readonly Parameter[]
  /** A (F, C) for each expert. */
  up: readonly Parameter[]
  /** A (C, F) for each expert. */
  down: readonly Parameter[]
  /** How many experts a row goes through. */
  chosen: number
  /** Whether the shares of the chosen experts are made to add up to 1. */
  normalised: boolean
  activation: ActivationKind
}

/**
 * The feed-forward part of a mixture of experts: each row goes through some of E gated feed-forwards.
 *
 *     p      = softmax(logits[n,:])
 *     y[n,:] = sum over the chosen e of the largest p:  p[e] * down[e] (act(gate[e] x[n,:]) * (up[e] x[n,:]))
 *
 * Of equal logits the first is chosen. Shazeer et al. 2017, https://arxiv.org/abs/1701.06538
 *
 * @param x (N, C) f32
 * @param logits (N, E) f32, a row's affinity to each expert
 * @returns (N, C) f32
 * @throws {ShapeError} when the matrices do not fit x and each other, or there are not E of each
 * @throws {DTypeError} when one is not f32
 * @throws {RangeError} when there are more than 1024 experts, or more are chosen than there are
 */
export function experts(x: Tensor, logits: Tensor, options: ExpertsOptions): Tensor {
  const { gate, up, down, chosen, normalised, activation } = options
  const { rows, columns: C } = expectMatrix('experts', 'x', x)
  const { columns: E } = expectMatrix('experts', 'logits', logits, '(N, E)')
  expectShape('experts', 'logits', logits, [rows, E])
  expectInteger('experts', 'the number of experts', E, 1, maxExperts)
  expectInteger('experts', 'chosen', chosen, 1, E)
  const { columns: F } = expectMatrix('experts', 'down[0]', down[0]!, '(C, F)')
  for (const [name, stack, shape] of [
    ['gate', gate, [F, C]],
    ['up', up, [F, C]],
    ['down', down, [C, F]],
  ] as const) {
    if (stack.length !== E) throw shapeMismatch('experts', 'logits', [rows, stack.length], logits.shape)
    for (const [e, matrix] of stack.entries()) expectShape('experts', `${name}[${e}]`, matrix, shape)
  }
  return x.record({
    op: 'experts',
    inputs: { x, logits, gate: x.stack(gate), up: x.stack(up), down: x.stack(down) },
    outputs: { y: { shape: x.shape, dtype: 'f32' } },
    attributes: { chosen, normalised, activation },
  }).y
}
