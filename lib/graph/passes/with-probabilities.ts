import type { Graph } from '../graph.js'
import { GraphEditor } from '../rewrite.js'
import { takeLogits } from './logits.js'

/**
 * Gives the probabilities of all tokens: output `logits` gives way to `probabilities` (R, V), its softmax.
 *
 * @throws {RangeError} when the graph has no output `logits`
 * @throws {ShapeError} when the logits are not (R, V)
 */
export function withProbabilities(graph: Graph): Graph {
  const editor = new GraphEditor(graph)
  const { logits, shape, name, others } = takeLogits(editor)
  const probabilities = editor.addValue({ kind: 'result', name, shape, dtype: 'f32' })
  editor.append({ op: 'softmax', name, inputs: { x: logits }, outputs: { y: probabilities }, attributes: {} })
  editor.outputs = { ...others, probabilities }
  return editor.finish()
}
