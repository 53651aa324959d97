import type { Graph } from '../graph.js'
import { GraphEditor } from '../rewrite.js'
import { inputOf, takeLogits } from './logits.js'

export const samplingInputs = ['temperature', 'topK', 'topP', 'minP', 'seed', 'counter'] as const

/**
 * Chooses tokens at the end of a step: output `logits` gives way to `ids` (R) and `logprobs` (R). The step takes the
 * sampling tables as inputs.
 *
 * @throws {RangeError} when the graph has no output `logits`
 * @throws {ShapeError} when the logits are not (R, V)
 */
export function withSampling(graph: Graph): Graph {
  const editor = new GraphEditor(graph)
  const { logits, name, others } = takeLogits(editor)
  const ids = editor.addValue({ kind: 'result', name, shape: ['R'], dtype: 'i32' })
  const logprobs = editor.addValue({ kind: 'result', name, shape: ['R'], dtype: 'f32' })
  const tables = Object.fromEntries(samplingInputs.map((input) => [input, inputOf(editor, input)]))
  editor.append({
    op: 'sample',
    name,
    inputs: { logits, ...tables },
    outputs: { ids, logprobs },
    attributes: {},
  })
  editor.outputs = { ...others, ids, logprobs }
  return editor.finish()
}
