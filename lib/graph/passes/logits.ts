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
