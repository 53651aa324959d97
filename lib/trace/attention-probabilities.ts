import type { Node } from '../graph/graph.js'

const turnMs = 4

/**
 * What each query gives each position, (H, T, T): softmax over the scores that the op `attention` documents, from its
 * queries and keys. Lets others in between, since it may take long.
 *
 * @param q (T, H*D), @param k (T, KH*D), positions rotated already where the model does that
 * @param slopes (H) of ALiBi, or null
 */
export async function attentionProbabilities(
  { attributes }: Node,
  q: Float32Array,
  k: Float32Array,
  slopes: Float32Array | null,
): Promise<{ data: Float32Array; shape: [number, number, number] }> {
  const [heads, kvHeads, D] = ['heads', 'kvHeads', 'headSize'].map((name) => Number(attributes[name])) as [
    number,
    number,
    number,
  ]
  const [scale, softcap, window] = ['scale', 'softcap', 'window'].map((name) => Number(attributes[name])) as [
    number,
    number,
    number,
  ]
  const T = q.length / (heads * D)
  const data = new Float32Array(heads * T * T)
  let turnAt = performance.now()
  for (let h = 0; h < heads; h++) {
    const kv = Math.floor(h / (heads / kvHeads))
    for (let t = 0; t < T; t++) {
      const row = data.subarray((h * T + t) * T, (h * T + t + 1) * T)
      const first = window > 0 ? Math.max(0, t - window + 1) : 0
      for (let j = first; j <= t; j++) {
        let score = 0
        for (let d = 0; d < D; d++) score += q[(t * heads + h) * D + d]! * k[(j * kvHeads + kv) * D + d]!
        score *= scale
        if (softcap > 0) score = softcap * Math.tanh(score / softcap)
        row[j] = score + (slopes ? slopes[h]! * (j - t) : 0)
      }
      softmaxInPlace(row.subarray(first, t + 1))
      if (performance.now() - turnAt < turnMs) continue
      await new Promise((resolve) => setImmediate(resolve))
      turnAt = performance.now()
    }
  }
  return { data, shape: [heads, T, T] }
}

function softmaxInPlace(row: Float32Array): void {
  let largest = -Infinity
  for (const x of row) largest = Math.max(largest, x)
  let sum = 0
  for (let j = 0; j < row.length; j++) sum += Math.exp(row[j]! - largest)
  for (let j = 0; j < row.length; j++) row[j] = Math.exp(row[j]! - largest) / sum
}
