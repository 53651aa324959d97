import { invalidValue } from '../../errors.js'
import type { Rule } from './call.js'

/** Rounds to f32 after each operation, as kernels do: what follows compares the numbers, and equals must be equal. */
export const adjustLogits: Rule = (call) => {
  const [R, V] = call.size('logits')
  const logits = call.floats('logits')
  const starts = call.integers('editStarts')
  const ids = call.integers('editIds')
  const factors = call.floats('editFactors')
  const offsets = call.floats('editOffsets')
  const adjusted = Float64Array.from(logits, Math.fround)
  for (let r = 0; r < R; r++) {
    for (let e = starts[r]!; e < starts[r + 1]!; e++) {
      const id = ids[e]!
      if (!(id >= 0 && id < V)) throw invalidValue(`adjust-logits: editIds[${e}]`, `from 0 to ${V - 1}`, id)
      const x = Math.fround(logits[r * V + id]!)
      const scaled = Math.fround(x > 0 ? x / factors[e]! : x * factors[e]!)
      adjusted[r * V + id] = Math.fround(scaled + offsets[e]!)
    }
    const maskRow = call.integers('maskRows')[r]!
    if (maskRow >= 0) applyMask(adjusted.subarray(r * V, (r + 1) * V), call.integers('masks'), maskRow)
  }
  return { adjusted }
}

function applyMask(row: Float64Array, masks: Int32Array, maskRow: number): void {
  const words = Math.ceil(row.length / 32)
  row.forEach((_, id) => {
    const word = masks[maskRow * words + Math.floor(id / 32)]!
    if (((word >>> (id % 32)) & 1) === 0) row[id] = -Infinity
  })
}
