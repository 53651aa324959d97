import type { Graph, Node } from '../graph.js'
import { appendOf, exclusivelyRead, GraphEditor } from '../rewrite.js'

/**
 * Rotates keys on their way into the cache and the queries beside them.
 *
 *     rope(q); rope(k); kv-append(k, v); attention(q)   ->   kv-append(k, v, table, q); attention(q)
 *
 * Both ropes must turn alike and have no other reader. Since the queries are rotated in place, nothing else may read
 * what they were before either.
 */
export function ropeAppend(graph: Graph): Graph {
  const editor = new GraphEditor(graph)
  for (const attention of editor.nodes('attention')) {
    const append = appendOf(editor, attention)
    if (!append || append.inputs.table !== undefined) continue
    const ropeQ = editor.producer(attention.inputs.q)
    const ropeK = editor.producer(append.inputs.k)
    if (!ropeQ || !ropeK || ropeQ === ropeK) continue
    if (!alike(ropeQ, ropeK) || !fits(ropeQ, ropeK, attention)) continue
    if (!editor.usedOnce(ropeQ.outputs.y!) || !editor.usedOnce(ropeK.outputs.y!)) continue
    if (!exclusivelyRead(editor, ropeQ.inputs.x!)) continue
    editor.replace([ropeQ, ropeK, append], append, [fused(append, ropeQ, ropeK)])
  }
  return editor.finish()
}

function alike(q: Node, k: Node): boolean {
  return (
    q.op === 'rope' &&
    k.op === 'rope' &&
    q.inputs.table === k.inputs.table &&
    q.attributes.interleaved === k.attributes.interleaved
  )
}

// As many channels are rotated as attended with, so that one head size means the same heads.
function fits(q: Node, k: Node, attention: Node): boolean {
  const { headSize } = attention.attributes
  return q.attributes.headSize === headSize && k.attributes.headSize === headSize
}

function fused(append: Node, ropeQ: Node, ropeK: Node): Node {
  const { heads, interleaved } = ropeQ.attributes
  return {
    ...append,
    inputs: { ...append.inputs, k: ropeK.inputs.x!, table: ropeQ.inputs.table!, q: ropeQ.inputs.x! },
    outputs: { q: ropeQ.outputs.y! },
    attributes: { ...append.attributes, heads: heads!, interleaved: interleaved! },
  }
}
