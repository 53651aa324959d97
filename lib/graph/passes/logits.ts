import { invalidValue, ShapeError } from '../../errors.js'
import type { Shape, StepInputName, ValueId } from '../graph.js'
import { formatShape, stepInputs, tableShape } from '../graph.js'
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

/** A step table of the graph, added where it is not there yet. */
export function inputOf(editor: GraphEditor, name: StepInputName, vocabSize?: number): ValueId {
  for (const value of editor.values()) if (value.kind === 'input' && value.name === name) return value.id
  const { dtype } = stepInputs[name]
  return editor.addValue({ kind: 'input', name, shape: tableShape(name, vocabSize), dtype })
}

/** Ops whose result has the type of their one operand, and which may follow the logits. */
export const mayFollowLogits = new Set(['slice', 'scale', 'softcap', 'softmax'])

/** Ops that choose tokens: what they give is f32, or ids. */
export const choosesTokens = new Set(['adjust-logits', 'sample', 'top-logits'])

/** Whether a value is only read by what ends a step: as an output, for choosing, or by ops that may follow the logits. */
export function endsTheStep(editor: GraphEditor, id: ValueId): boolean {
  return editor.uses(id).every(({ node }) => {
    if (node === null || choosesTokens.has(node.op)) return true
    return mayFollowLogits.has(node.op) && endsTheStep(editor, node.outputs.y!)
  })
}
