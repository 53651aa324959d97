import { attentionCases } from './attention-cases.js'
import { linearCases } from './linear-cases.js'
import { modelCases } from './model-cases.js'
import { rowCases } from './row-cases.js'
import type { VectorCase } from './vector-file.js'

export { benchmarkPrograms } from './programs.js'
export { encode } from './vector-file.js'

/** Every kernel once in each of its forms, in a few thousand launches. */
const small = [
  /^(elementwise|norms|norms of heads|experts|rotations), (bf16|f32)$/,
  /^gathered rows, bf16$/,
  /^(sample|controls), bf16, of 4097$/,
  /^linear, bf16, (130 to 31|520 to 200|4104 to 24|norms of 5, 64, 100|slices|extremes)$/,
  /^linear, f16, 3 to 63$/,
  /^linear, bf16, (520 to 70, weights in q8|33 to 130, weights in q4)$/,
  /^linear, f32, (17 to 65|4104 to 24|weights in bf16)$/,
  /^attention, bf16, (600 tokens|3 of 3 x 17|4 of 1 x 64|2 of 2 x 128|2 of 1 x 256|rotated$)/,
  /^attention, (f16|f32), (2 of 2 x 16|4 of 1 x 64)/,
  /^attention, bf16, 4 of 1 x 64, cache in q8$/,
  /^model (llama|gpt2), bf16$/,
  /^model llama, bf16, ahead$/,
]

/** Everything that conformance.cpp runs, from single kernels to whole models. */
export function vectorCases(): VectorCase[] {
  const cases = [...rowCases(), ...linearCases(), ...attentionCases(), ...modelCases()]
  return cases.map((one) => ({ ...one, small: small.some((name) => name.test(one.name)) }))
}
