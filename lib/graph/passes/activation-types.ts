import type { DType, Graph, Node, ValueId } from '../graph.js'
import { GraphEditor } from '../rewrite.js'

export interface ActivationTypeOptions {
  /** The type that results have between layers: f32 (the CPU, the default) or one of 16 bits (CUDA). */
  activations?: 'f32' | 'f16' | 'bf16'
}

/**
 * Gives results the type that a device computes in. What decides about tokens stays f32: the logits, what is made of
 * them, and log probabilities; and so do the angles of rotary positions. Every op's operands have one type, but for a
 * linear layer, whose result may be f32.
 */
export function activationTypes(graph: Graph, { activations = 'f32' }: ActivationTypeOptions = {}): Graph {
  if (activations === 'f32') return graph
  const editor = new GraphEditor(graph)
  const exact = new Set<ValueId>()
  for (const node of graph.nodes) {
    for (const [name, id] of Object.entries(node.outputs)) {
      if (staysExact(editor, node, name, exact)) exact.add(id)
      else if (editor.value(id).dtype === 'f32')
        editor.changeValue(id, { dtype: activations satisfies DType })
    }
  }
  return editor.finish()
}

/** Ops whose result has the type of their one operand, and which may follow the logits. */
const tails = new Set(['slice', 'scale', 'softmax'])

function staysExact(editor: GraphEditor, node: Node, output: string, exact: ReadonlySet<ValueId>): boolean {
  if (node.op === 'rope-table' || node.op === 'sample') return true
  if (output !== 'y') return false
  if (node.op === 'linear') return node.inputs.residual === undefined && endsTheStep(editor, node.outputs.y!)
  return tails.has(node.op) && exact.has(node.inputs.x!)
}

/** Whether a value is only read by what ends a step: as an output, for sampling, or by tails that are. */
function endsTheStep(editor: GraphEditor, id: ValueId): boolean {
  return editor.uses(id).every(({ node }) => {
    if (node === null || node.op === 'sample') return true
    return tails.has(node.op) && endsTheStep(editor, node.outputs.y!)
  })
}
