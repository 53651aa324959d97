import type { Graph, Node } from '../graph.js'
import { GraphEditor } from '../rewrite.js'

/**
 * Lets a norm add what it is the norm of, so that the sum is read once less.
 *
 *     s = a + b; y = norm(s)   ->   y, s = norm(a, residual b)
 *
 * The sum stays an output where something else reads it. Of several norms of one sum, the first adds.
 */
export function residualNorm(graph: Graph): Graph {
  const editor = new GraphEditor(graph)
  for (const norm of editor.nodes()) {
    if (norm.op !== 'layer-norm' && norm.op !== 'rms-norm') continue
    const add = editor.producer(norm.inputs.x)
    if (add?.op !== 'add' || norm.inputs.residual !== undefined || norm.outputs.sum !== undefined) continue
    // In the sum's place, because its other readers may stand before the norm.
    editor.replace([add, norm], add, [fused(add, norm, !editor.usedOnce(add.outputs.y!))])
  }
  return editor.finish()
}

function fused(add: Node, norm: Node, sumIsRead: boolean): Node {
  const { x, ...parameters } = norm.inputs
  return {
    ...norm,
    inputs: { x: add.inputs.a!, residual: add.inputs.b!, ...parameters },
    outputs: sumIsRead ? { ...norm.outputs, sum: add.outputs.y! } : norm.outputs,
  }
}
