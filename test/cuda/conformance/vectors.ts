import { attentionCases } from './attention-cases.js'
import { linearCases } from './linear-cases.js'
import { modelCases } from './model-cases.js'
import { rowCases } from './row-cases.js'
import type { VectorCase } from './vector-file.js'

/** Everything that conformance.cpp runs, from single kernels to whole models. */
export function vectorCases(): VectorCase[] {
  return [...rowCases(), ...linearCases(), ...attentionCases(), ...modelCases()]
}

export { benchmarkPrograms } from './programs.js'
export { encode } from './vector-file.js'
