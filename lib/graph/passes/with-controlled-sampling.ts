import type { Graph } from '../graph.js'
import { GraphEditor } from '../rewrite.js'
import { inputOf, takeLogits } from './logits.js'
import { samplingInputs } from './with-sampling.js'

const editInputs = ['editStarts', 'editIds', 'editFactors', 'editOffsets', 'maskRows', 'masks'] as const

/**
 * `withSampling` with all controls: logits are edited and masked, tokens may be chosen by typicality or be forced, and
 * the likeliest are listed. Output `logits` gives way to `ids` (R), `logprobs` (R), `topIds` (R, most) and
 * `topLogprobs` (R, most); log probabilities are those of the model's own logits.
 *
 * @throws {RangeError} when the graph has no output `logits`
 * @throws {ShapeError} when the logits are not (R, V)
 */
export function withControlledSampling(graph: Graph, { most }: { most: number }): Graph {
  const editor = new GraphEditor(graph)
  const { logits, shape, name, others } = takeLogits(editor)
  const input = (table: Parameters<typeof inputOf>[1]) => inputOf(editor, table, shape[1] as number)
  const inputs = (tables: readonly Parameters<typeof inputOf>[1][]) =>
    Object.fromEntries(tables.map((table) => [table, input(table)]))
  const result = (columns: readonly number[], dtype: 'f32' | 'i32') =>
    editor.addValue({ kind: 'result', name, shape: ['R', ...columns], dtype })

  const adjusted = editor.addValue({ kind: 'result', name, shape, dtype: 'f32' })
  const sampled = { ids: result([], 'i32'), logprobs: result([], 'f32') }
  const top = { topIds: result([most], 'i32'), topLogprobs: result([most], 'f32') }
  editor.append({
    op: 'adjust-logits',
    name,
    inputs: { logits, ...inputs(editInputs) },
    outputs: { adjusted },
    attributes: {},
  })
  editor.append({
    op: 'sample',
    name,
    inputs: { logits, adjusted, ...inputs([...samplingInputs, 'typicalP', 'forced']) },
    outputs: sampled,
    attributes: {},
  })
  editor.append({
    op: 'top-logits',
    name,
    inputs: { logits, allowed: adjusted, counts: input('topCounts') },
    outputs: top,
    attributes: { most },
  })
  editor.outputs = { ...others, ...sampled, ...top }
  return editor.finish()
}
