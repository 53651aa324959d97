import type { Attribute, Graph, Node, Shape, StepInputName } from '#kvasir/graph/graph.js'
import { Interpreter } from '#kvasir/graph/interpreter.js'
import { Recording } from '#kvasir/graph/recording.js'

export interface Evaluation {
  /** Vectors and matrices, by the input's name. */
  floats?: Record<string, number[] | number[][]>
  /** Step inputs, by the input's name: which, and its numbers. */
  tables?: Record<string, [StepInputName, Int32Array | Float32Array]>
  attributes?: Record<string, Attribute>
  outputs: Record<string, Shape>
}

/** Runs one node in the interpreter; its float inputs keep all of their 64 bits. */
export function evaluate(op: string, { floats = {}, tables = {}, attributes, outputs }: Evaluation) {
  const recording = new Recording()
  const inputs: Node['inputs'] = {}
  for (const [name, numbers] of Object.entries(floats)) {
    const shape = Array.isArray(numbers[0]) ? [numbers.length, numbers[0].length] : [numbers.length]
    inputs[name] = recording.weight(name, shape).id
  }
  for (const [name, [table]] of Object.entries(tables)) inputs[name] = recording.input(table).id
  const declared = Object.fromEntries(
    Object.entries(outputs).map(([name, shape]) => [name, { shape, dtype: 'f32' as const }]),
  )
  const made = recording.node({ op, name: 'here', inputs, outputs: declared, attributes })
  const graph: Graph = recording.graph
  for (const [name, { id }] of Object.entries(made)) graph.outputs[name] = id
  const weights = (name: string) => Float64Array.from(floats[name].flat())
  const results = new Interpreter(graph, { weights }).run(Object.fromEntries(Object.values(tables)))
  return Object.fromEntries(Object.entries(results).map(([name, numbers]) => [name, Array.from(numbers)]))
}
