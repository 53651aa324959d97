import type { Activation } from '../ops/activation.js'
import { gelu, geluTanh, relu, silu } from '../ops/activation.js'

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
} as const satisfies Record<string, Activation>

export type ActivationName = keyof typeof activations
