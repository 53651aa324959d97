import type { Graph, Node } from '../graph.js'
import { GraphEditor } from '../rewrite.js'

/**
 * Lets a linear layer finish what follows it, while its results are still in registers.
 *
 *     activation(linear(x))    ->   linear(x), activation
 *     linear(x) + residual     ->   linear(x), residual
 *
 * Only where nothing else reads the linear's result, and in that order: an activation after an addition stays.
 */
export function epilogues(graph: Graph): Graph {
  const editor = new GraphEditor(graph)
  for (const node of editor.nodes()) {
    if (node.op === 'activation') fuseActivation(editor, node)
    else if (node.op === 'add') fuseResidual(editor, node)
  }
  return editor.finish()
}

function fuseActivation(editor: GraphEditor, activation: Node): void {
  const linear = editor.producer(activation.inputs.x)
  if (!linear || activation.inputs.up !== undefined || !takesEpilogue(editor, linear)) return
  if (linear.attributes.gated !== false || linear.attributes.activation !== 'none') return
  const attributes = { ...linear.attributes, activation: activation.attributes.kind! }
  editor.replace([linear, activation], activation, [{ ...linear, outputs: activation.outputs, attributes }])
}

// The linear moves down to where the sum stood: the residual may be computed after it.
function fuseResidual(editor: GraphEditor, add: Node): void {
  const { a, b } = add.inputs as { a: number; b: number }
  for (const [result, residual] of [
    [b, a],
    [a, b],
  ] as const) {
    const linear = editor.producer(result)
    if (!linear || !takesEpilogue(editor, linear)) continue
    const inputs = { ...linear.inputs, residual }
    editor.replace([linear, add], add, [{ ...linear, inputs, outputs: add.outputs }])
    return
  }
}

function takesEpilogue(editor: GraphEditor, node: Node): boolean {
  return node.op === 'linear' && node.inputs.residual === undefined && editor.usedOnce(node.outputs.y!)
}
