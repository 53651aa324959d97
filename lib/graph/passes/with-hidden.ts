import { invalidValue } from '../../errors.js'
import type { Graph, ValueId } from '../graph.js'
import { GraphEditor } from '../rewrite.js'
import { takeLogits } from './logits.js'

/**
 * Gives what the LM head reads instead of logits: output `hidden` (R, C), the last norm's result.
 *
 * @throws {RangeError} when the graph has no output `logits`, or no linear layer makes them
 * @throws {ShapeError} when the logits are not (R, V)
 */
export function withHidden(graph: Graph): Graph {
  const editor = new GraphEditor(graph)
  const { logits, others } = takeLogits(editor)
  editor.outputs = { ...others, hidden: headInput(editor, logits) }
  return editor.finish()
}

/** Follows the logits back, through what was done to them, to the head that made them. */
function headInput(editor: GraphEditor, logits: ValueId): ValueId {
  for (let node = editor.producer(logits); node; node = editor.producer(node.inputs.x)) {
    if (node.op === 'linear') return node.inputs.x!
  }
  throw invalidValue('graph: logits', 'made by a linear layer', 'another op')
}
