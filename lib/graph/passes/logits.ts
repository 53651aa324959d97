import { invalidValue, ShapeError } from '../../errors.js'
import type { Shape, ValueId } from '../graph.js'
import { formatShape } from '../graph.js'
import type { GraphEditor } from '../rewrite.js'

/** The output that a tail pass works on, and the outputs that stay. */
export function takeLogits(editor: GraphEditor): {
  logits: ValueId
  shape: Shape
  name: string
  others: Record<string, ValueId>
} {
  const { logits, ...others } = editor.outputs
  if (logits === undefined) {
    throw invalidValue('graph: outputs', 'named logits among others', Object.keys(others).join(', '))
  }
  const { shape, name } = editor.value(logits)
  if (shape.length !== 2 || shape[0] !== 'R') {
    throw new ShapeError(`graph: logits must be (R, V), got ${formatShape(shape)}`)
  }
  return { logits, shape, name, others }
}

/** Ops whose result has the type of their one operand, and which may follow the logits. */
export const mayFollowLogits = new Set(['slice', 'scale', 'softcap', 'softmax'])

/** Whether a value is only read by what ends a step: as an output, for sampling, or by ops that may follow the logits. */
export function endsTheStep(editor: GraphEditor, id: ValueId): boolean {
  return editor.uses(id).every(({ node }) => {
    if (node === null || node.op === 'sample') return true
    return mayFollowLogits.has(node.op) && endsTheStep(editor, node.outputs.y!)
  })
}
