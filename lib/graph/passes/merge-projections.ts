import type { Graph, Node, Value, ValueId } from '../graph.js'
import { appendOf, GraphEditor } from '../rewrite.js'

/**
 * Reads an input once for several linear layers, whose weights are stacked.
 *
 *     q, k, v = linear(x), linear(x), linear(x)   ->   linear(x), weight q|k|v; slice, slice, slice
 *     activation(linear(x)) * linear(x)           ->   linear(x), weight gate|up interleaved, gated
 *
 * Only plain linears whose weights nothing else reads; all of them have a bias, or none.
 */
export function mergeProjections(graph: Graph): Graph {
  const editor = new GraphEditor(graph)
  for (const attention of editor.nodes('attention')) mergeHeads(editor, attention)
  for (const activation of editor.nodes('activation')) mergeGated(editor, activation)
  return editor.finish()
}

function mergeHeads(editor: GraphEditor, attention: Node): void {
  const linears = headInputs(editor, attention).map((id) => projectionOf(editor, id))
  if (!areMergeable(editor, linears) || new Set(linears).size !== 3) return
  const { inputs, size } = stack(editor, linears)
  const name = joinPaths(linears.map((linear) => linear.name))
  const { shape, dtype } = editor.value(linears[0]!.outputs.y!)
  const whole = editor.addValue({ kind: 'result', name, shape: [shape[0]!, size], dtype })
  let start = 0
  const slices = linears.map((linear): Node => {
    const attributes = { start, size: outputSize(editor, linear) }
    start += attributes.size
    return { op: 'slice', name: linear.name, inputs: { x: whole }, outputs: linear.outputs, attributes }
  })
  const merged = { ...linears[0]!, name, inputs, outputs: { y: whole } }
  editor.replace(linears, editor.first(linears), [merged, ...slices])
}

function mergeGated(editor: GraphEditor, activation: Node): void {
  const linears = [editor.producer(activation.inputs.x), editor.producer(activation.inputs.up)]
  if (!areMergeable(editor, linears)) return
  if (!linears.every((linear) => editor.usedOnce(linear.outputs.y!))) return
  const { inputs } = stack(editor, linears, { interleaved: true })
  const merged: Node = {
    op: 'linear',
    name: joinPaths(linears.map((linear) => linear.name)),
    inputs,
    outputs: activation.outputs,
    attributes: { activation: activation.attributes.kind!, gated: true },
  }
  editor.replace([...linears, activation], activation, [merged])
}

/** What an attention's queries, keys and values come from. */
function headInputs(editor: GraphEditor, attention: Node): (ValueId | undefined)[] {
  const { k, v } = appendOf(editor, attention)?.inputs ?? attention.inputs
  return [attention.inputs.q, k, v]
}

/** The node that a head tensor was projected by, before it was rotated, normalised or scaled. */
function projectionOf(editor: GraphEditor, id: ValueId | undefined): Node | undefined {
  const node = editor.producer(id)
  if (node?.op === 'kv-append') return projectionOf(editor, node.inputs.q)
  const passes = ['rope', 'layer-norm', 'rms-norm', 'scale']
  return node && passes.includes(node.op) ? projectionOf(editor, node.inputs.x) : node
}

function areMergeable(editor: GraphEditor, nodes: readonly (Node | undefined)[]): nodes is Node[] {
  const [first] = nodes
  if (!first) return false
  return nodes.every(
    (node) =>
      node !== undefined &&
      isPlain(node) &&
      node.inputs.x === first.inputs.x &&
      isOwnWeight(editor, node.inputs.weight) &&
      (node.inputs.bias === undefined
        ? first.inputs.bias === undefined
        : first.inputs.bias !== undefined && isOwnWeight(editor, node.inputs.bias)),
  )
}

function isPlain({ op, inputs, attributes }: Node): boolean {
  const { activation, gated } = attributes
  return op === 'linear' && inputs.residual === undefined && activation === 'none' && gated === false
}

/** Whether a value is one parameter that only one node reads, and not yet laid out. */
function isOwnWeight(editor: GraphEditor, id: ValueId | undefined): boolean {
  if (id === undefined || !editor.usedOnce(id)) return false
  const { kind, parts, layout } = editor.value(id)
  return kind === 'weight' && parts?.length === 1 && layout === undefined
}

/** The inputs of one linear that stands for several, and how many rows its weight has. */
function stack(editor: GraphEditor, linears: readonly Node[], options: { interleaved?: boolean } = {}) {
  const [{ inputs: own }] = linears as [Node]
  const weights = linears.map((linear) => editor.value(linear.inputs.weight!))
  const size = linears.reduce((total, linear) => total + outputSize(editor, linear), 0)
  const inputs: Node['inputs'] = { x: own.x!, weight: editor.addValue(stacked(weights, options)) }
  if (own.bias !== undefined) {
    // A gated linear takes its biases one after the other, not interleaved.
    inputs.bias = editor.addValue(stacked(linears.map((linear) => editor.value(linear.inputs.bias!))))
  }
  return { inputs, size }
}

function stacked(
  weights: readonly Readonly<Value>[],
  options: { interleaved?: boolean } = {},
): Omit<Value, 'id'> {
  const [{ shape, dtype }] = weights as [Value]
  const parts = weights.flatMap((weight) => weight.parts!)
  const rows = parts.reduce((total, part) => total + part.rows, 0)
  const name = joinPaths(weights.map((weight) => weight.name))
  return { kind: 'weight', name, shape: [rows, ...shape.slice(1)], dtype, parts, ...options }
}

function outputSize(editor: GraphEditor, linear: Node): number {
  return editor.value(linear.outputs.y!).shape[1] as number
}

/** `a.q.weight`, `a.k.weight` -> `a.q|k.weight` */
function joinPaths(paths: readonly string[]): string {
  if (new Set(paths).size === 1) return paths[0]!
  const split = paths.map((path) => path.split('.'))
  const shortest = Math.min(...split.map((parts) => parts.length))
  const agree = (pick: (parts: string[]) => string | undefined) => new Set(split.map(pick)).size === 1
  let head = 0
  while (head < shortest && agree((parts) => parts[head])) head++
  if (head === shortest) return paths.join('|')
  let tail = 0
  while (tail < shortest - head - 1 && agree((parts) => parts.at(-1 - tail))) tail++
  const [first] = split as [string[]]
  const middle = split.map((parts) => parts.slice(head, parts.length - tail).join('.')).join('|')
  return [...first.slice(0, head), middle, ...first.slice(first.length - tail)].join('.')
}
