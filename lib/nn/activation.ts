import type { Activation, ActivationKind } from '../ops/activation.js'
import { gelu, geluTanh, relu, silu } from '../ops/activation.js'

/** `max(x, 0)^2`, gated, times up. So et al. 2021, https://arxiv.org/abs/2109.08668 */
export const reluSquared: Activation = (x, up) => relu(x, up ? relu(x, up) : x)

/** Activations by the names that Hugging Face configurations give them. */
export const activations = {
  relu,
  gelu,
  gelu_python: gelu,
  gelu_new: geluTanh,
  gelu_fast: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  silu,
  swish: silu,
  relu2: reluSquared,
} as const satisfies Record<string, Activation>

/** The same but for ReLU squared, as an op's attribute names them. */
export const activationKinds = {
  relu: 'relu',
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'gelu-tanh',
  gelu_fast: 'gelu-tanh',
  gelu_pytorch_tanh: 'gelu-tanh',
  silu: 'silu',
  swish: 'silu',
} as const satisfies Record<string, ActivationKind>

export type ActivationName = keyof typeof activations
