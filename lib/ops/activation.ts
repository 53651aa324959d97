import { expectMatrix, expectShape } from './check.js'
import type { Tensor } from './tensor.js'

export type ActivationKind = 'relu' | 'gelu' | 'gelu-tanh' | 'silu'

/** `act(x)`, or with a second tensor of the same shape the gated form `act(x) * up` (Shazeer 2020). */
export type Activation = (x: Tensor, up?: Tensor) => Tensor

/**
 * `y[n,c] = act(x[n,c])`, gated `y[n,c] = act(x[n,c]) * up[n,c]`.
 *
 * Gated units: Shazeer 2020, https://arxiv.org/abs/2002.05202
 *
 * @param x (N, C) f32
 * @param up (N, C) f32, or none
 * @returns (N, C) f32
 * @throws {ShapeError} when up has another shape
 * @throws {DTypeError} when one is not f32
 */
function activation(kind: ActivationKind, x: Tensor, up?: Tensor): Tensor {
  expectMatrix('activation', 'x', x)
  if (up) expectShape('activation', 'up', up, x.shape)
  return x.record({
    op: 'activation',
    inputs: { x, up },
    outputs: { y: { shape: x.shape, dtype: 'f32' } },
    attributes: { kind },
  }).y
}

/** `max(x, 0)`, gated `max(x, 0) * up`. @throws {ShapeError | DTypeError} when x is not (N, C) f32, or up another shape */
export function relu(x: Tensor, up?: Tensor): Tensor {
  return activation('relu', x, up)
}

/**
 * `x Phi(x)`, Phi being the normal distribution's CDF; gated `x Phi(x) * up`.
 *
 * Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415
 *
 * @throws {ShapeError | DTypeError} when x is not (N, C) f32, or up another shape
 */
export function gelu(x: Tensor, up?: Tensor): Tensor {
  return activation('gelu', x, up)
}

/**
 * GELU by its tanh approximation, `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`, as GPT-2 has it; gated, times up.
 *
 * @throws {ShapeError | DTypeError} when x is not (N, C) f32, or up another shape
 */
export function geluTanh(x: Tensor, up?: Tensor): Tensor {
  return activation('gelu-tanh', x, up)
}

/** `x / (1 + e^-x)`; gated, times up. @throws {ShapeError | DTypeError} when x is not (N, C) f32, or up another shape */
export function silu(x: Tensor, up?: Tensor): Tensor {
  return activation('silu', x, up)
}
