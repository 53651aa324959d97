import { describe, expect, it } from 'vitest'
import { layout } from '#kvasir/graph/passes/layout.js'
import { roundOperands } from '#kvasir/graph/passes/round-operands.js'
import { C, only, start } from '../small-graphs.js'

function linear(dtype: 'f32' | 'bf16' | 'q8', matrixLayout: 'panels' | 'tiles', asked: boolean) {
  const { b, x } = start()
  const graph = layout(b.finish({ y: b.linear('fc', x, C) }), { dtype, matrixLayout })
  return only(roundOperands(graph, { roundOperands: asked }), 'linear').attributes
}

describe('round-operands', () => {
  it('marks linear layers with bf16 weights on the CPU, where it is asked for', () => {
    expect(linear('bf16', 'panels', true)).toMatchObject({ roundsOperand: true })
  })

  it('leaves the others alone', () => {
    for (const attributes of [
      linear('bf16', 'panels', false),
      linear('bf16', 'tiles', true),
      linear('f32', 'panels', true),
      linear('q8', 'panels', true),
    ]) {
      expect(attributes).not.toHaveProperty('roundsOperand')
    }
  })
})
