import type { Graph } from '../graph.js'
import type { ActivationTypeOptions } from './activation-types.js'
import { activationTypes } from './activation-types.js'
import { deadCode } from './dead-code.js'
import { epilogues } from './epilogues.js'
import type { LayoutOptions } from './layout.js'
import { layout } from './layout.js'
import { lowerAttention } from './lower-attention.js'
import { mergeProjections } from './merge-projections.js'
import { residualNorm } from './residual-norm.js'
import { ropeAppend } from './rope-append.js'
import type { RoundOperandsOptions } from './round-operands.js'
import { roundOperands } from './round-operands.js'

export { withControlledSampling } from './with-controlled-sampling.js'
export { withProbabilities } from './with-probabilities.js'
export { withSampling } from './with-sampling.js'

export type OptimizeOptions = LayoutOptions & ActivationTypeOptions & RoundOperandsOptions

/** A pass takes a graph and gives another that computes the same; it leaves its argument as it was. */
export type Pass = (graph: Graph, options: OptimizeOptions) => Graph

/**
 * The passes in their order. What is dead goes first, since its reads would keep others from being fused. Projections
 * are merged before activations and additions find single linears to join; a sum that no linear could take is left
 * to the norm after it.
 */
export const passes: readonly (readonly [name: string, pass: Pass])[] = [
  ['dead-code', deadCode],
  ['lower-attention', lowerAttention],
  ['rope-append', ropeAppend],
  ['merge-projections', mergeProjections],
  ['epilogues', epilogues],
  ['residual-norm', residualNorm],
  ['activation-types', activationTypes],
  ['layout', layout],
  ['round-operands', roundOperands],
]

/** The form of a recorded graph that native code runs: lowered, fused, types and layouts chosen. */
export function optimize(graph: Graph, options: OptimizeOptions = {}): Graph {
  return passes.reduce((result, [, pass]) => pass(result, options), graph)
}
