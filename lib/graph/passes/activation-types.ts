import type { DType, Graph, Node, ValueId } from '../graph.js'
import { GraphEditor } from '../rewrite.js'
import { choosesTokens, endsTheStep, mayFollowLogits } from './logits.js'

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

function staysExact(editor: GraphEditor, node: Node, output: string, exact: ReadonlySet<ValueId>): boolean {
  if (node.op === 'rope-table' || choosesTokens.has(node.op)) return true
  if (output !== 'y') return false
  if (node.op === 'linear') return node.inputs.residual === undefined && endsTheStep(editor, node.outputs.y!)
  return mayFollowLogits.has(node.op) && exact.has(node.inputs.x!)
}
