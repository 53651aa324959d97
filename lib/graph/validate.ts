import { invalidValue } from '../errors.js'
import type { Attribute, Graph, Node, Value, ValueId } from './graph.js'
import { formatShape, stepInputs } from './graph.js'
import type { AttributeKind } from './op-set.js'
import { signatureOf } from './op-set.js'

/**
 * Checks that a graph is well formed: ids, known ops with their inputs, outputs and attributes, every value made once
 * and before it is read, weights made of their parts, constants with their data.
 *
 * @throws {RangeError} naming the node or value, what is expected and what was found
 */
export function validateGraph(graph: Graph): void {
  const made = new Set<ValueId>()
  graph.values.forEach((value, i) => {
    if (value.id !== i) throw invalidValue(`graph: id of value ${i}`, `${i}`, value.id)
    checkValue(value)
    if (value.kind !== 'result') made.add(i)
  })
  for (const node of graph.nodes) checkNode(node, graph, made)
  for (const [name, id] of Object.entries(graph.outputs)) {
    if (!made.has(id)) throw invalidValue(`graph: output ${name}`, 'a computed value', id)
  }
}

function checkValue(value: Value): void {
  const where = `graph: ${value.kind} ${value.name}`
  if (value.kind === 'input') checkInput(value, where)
  if (value.kind === 'weight') checkWeight(value, where)
  if (value.kind === 'constant' && value.data?.length !== elements(value)) {
    throw invalidValue(where, `${elements(value)} numbers`, value.data?.length)
  }
}

function checkInput({ name, shape, dtype }: Value, where: string): void {
  const known = Object.hasOwn(stepInputs, name) ? stepInputs[name as keyof typeof stepInputs] : undefined
  if (!known) throw invalidValue(where, `one of ${Object.keys(stepInputs).join(', ')}`, name)
  const fits =
    shape.length === known.shape.length &&
    known.shape.every((dim, i) => (dim === 'V/32' ? typeof shape[i] === 'number' : dim === shape[i]))
  if (!fits || dtype !== known.dtype) {
    throw invalidValue(where, `(${known.shape.join(', ')}) ${known.dtype}`, `${formatShape(shape)} ${dtype}`)
  }
}

function checkWeight(value: Value, where: string): void {
  if (!(elements(value) > 0))
    throw invalidValue(`${where}: shape`, 'of known sizes', formatShape(value.shape))
  const rows = (value.parts ?? []).map((part) => part.rows)
  const total = rows.reduce((sum, count) => sum + count, 0)
  if (total !== value.shape[0]) throw invalidValue(`${where}: parts`, `${value.shape[0]} rows`, total)
  if (value.interleaved && (rows.length !== 2 || rows[0] !== rows[1])) {
    throw invalidValue(`${where}: parts`, 'two of equal rows, to be interleaved', rows.join(', '))
  }
}

/** NaN where a dimension is free. */
function elements({ shape }: Value): number {
  return shape.reduce<number>((product, dim) => product * (typeof dim === 'number' ? dim : NaN), 1)
}

function checkNode(node: Node, graph: Graph, made: Set<ValueId>): void {
  const where = `graph: ${node.op} of ${node.name}`
  const signature = signatureOf(node.op)
  if (!signature) throw invalidValue(where, 'a known op', node.op)
  checkNames(`${where}: inputs`, signature.inputs, node.inputs)
  checkNames(`${where}: outputs`, signature.outputs, node.outputs)
  checkNames(`${where}: attributes`, Object.keys(signature.attributes), node.attributes)
  for (const [name, kind] of Object.entries(signature.attributes)) {
    const attribute = node.attributes[name.replace('?', '')]
    if (attribute !== undefined) checkAttribute(`${where}: ${name}`, kind, attribute)
  }
  for (const [name, id] of Object.entries(node.inputs)) {
    if (!made.has(id)) throw invalidValue(`${where}: ${name}`, 'a value computed before it', id)
  }
  for (const [name, id] of Object.entries(node.outputs)) {
    if (graph.values[id]?.kind !== 'result' || made.has(id)) {
      throw invalidValue(`${where}: ${name}`, 'a result that nothing else computes', id)
    }
    made.add(id)
  }
}

function checkNames(where: string, names: readonly string[], given: object): void {
  const known = names.map((name) => name.replace('?', ''))
  for (const name of names) {
    if (!name.endsWith('?') && !Object.hasOwn(given, name))
      throw invalidValue(where, `with ${name}`, listed(given))
  }
  for (const name of Object.keys(given)) {
    if (!known.includes(name)) throw invalidValue(where, `of ${known.join(', ') || 'none'}`, listed(given))
  }
}

function listed(given: object): string {
  return Object.keys(given).join(', ')
}

function checkAttribute(where: string, kind: AttributeKind, attribute: Attribute): void {
  if (Array.isArray(kind)) {
    if (!kind.includes(attribute)) throw invalidValue(where, `one of ${kind.join(', ')}`, attribute)
  } else if (kind === 'numbers') {
    const numbers = Array.isArray(attribute) && attribute.every((number) => Number.isFinite(number))
    if (!numbers) throw invalidValue(where, 'finite numbers', attribute)
  } else if (typeof attribute !== kind || (kind === 'number' && !Number.isFinite(attribute))) {
    throw invalidValue(where, kind === 'number' ? 'a finite number' : `a ${kind}`, attribute)
  }
}
