/** Multiply-adds of a second, twice, that the machine is capable of at this moment for weights of a type. */
export function productRate(probe, type) {
  if (type.startsWith('q')) return probe.probeArithmetic('int8')
  const f32 = probe.probeArithmetic('f32')
  return type === 'bf16' ? Math.max(f32, probe.probeArithmetic('bf16')) : f32
}
