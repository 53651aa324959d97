import type { Graph, Node, ValueId } from './graph.js'
import { formatShape } from './graph.js'
import { groupByBlock, nodesByBlock, splitPath } from './listing/blocks.js'
import { describeNode } from './listing/words.js'

/**
 * A graph in Graphviz' language: `kvasir inspect --dot model | dot -Tsvg`. Each layer is a box; dashed lines go through
 * the KV cache. Tables that every attention reads are left out.
 */
export function graphToDot(graph: Graph): string {
  const ids = new Map(graph.nodes.map((node, i) => [node, `n${i}`]))
  return [
    'digraph kvasir {',
    '  node [shape=box, style=filled, fillcolor=white, fontname="Helvetica", fontsize=11]',
    '  edge [fontname="Helvetica", fontsize=9, arrowsize=0.7]',
    ...inputLines(graph),
    ...nodeLines(graph, ids),
    ...graph.nodes.flatMap((node) => edgeLines(node, graph, ids)),
    ...cacheLines(graph, ids),
    ...outputLines(graph, ids),
    '}',
    '',
  ].join('\n')
}

const tables = ['queryStarts', 'contextLengths', 'blockTables']

function inputLines(graph: Graph): string[] {
  return graph.values
    .filter(({ kind, name }) => kind === 'input' && !tables.includes(name))
    .map(({ id, name, shape }) => `  v${id} [shape=ellipse, label=${quote(name, formatShape(shape))}]`)
}

function nodeLines(graph: Graph, ids: Map<Node, string>): string[] {
  const runs = groupByBlock(nodesByBlock(graph), (node) => splitPath(node.name).block)
  return runs.flatMap(({ block, items }, i) => {
    const lines = items.map((node) => `  ${ids.get(node)} [label=${nodeLabel(node, graph)}]`)
    if (block === undefined) return lines
    const style = 'style=rounded; color=gray; fontname="Helvetica"; fontsize=11'
    return [
      `  subgraph cluster_${i} {`,
      `    label=${quote(block)}; ${style}`,
      ...lines.map((line) => `  ${line}`),
      '  }',
    ]
  })
}

function nodeLabel(node: Node, graph: Graph): string {
  const { block, rest } = splitPath(node.name)
  const made = Object.values(node.outputs).map((id) => formatShape(graph.values[id]!.shape))
  const path = block === undefined ? rest : rest && `.${rest}`
  return quote(...[path, describeNode(node, graph), made.join(', ')].filter((line) => line !== ''))
}

function edgeLines(node: Node, graph: Graph, ids: Map<Node, string>): string[] {
  return Object.entries(node.inputs).flatMap(([name, id]) => {
    const source = sourceOf(id, graph, ids)
    if (!source) return []
    const label = ['x', 'a', 'b', 'ids'].includes(name) ? '' : ` [label=${quote(name)}]`
    return [`  ${source} -> ${ids.get(node)}${label}`]
  })
}

/** The vertex that a value comes from; undefined for weights, constants and tables, which have none. */
function sourceOf(id: ValueId, graph: Graph, ids: Map<Node, string>): string | undefined {
  const { kind, name } = graph.values[id]!
  if (kind === 'input') return tables.includes(name) ? undefined : `v${id}`
  const producer = graph.nodes.find((node) => Object.values(node.outputs).includes(id))
  return producer && ids.get(producer)
}

function cacheLines(graph: Graph, ids: Map<Node, string>): string[] {
  return graph.nodes.flatMap((node) => {
    if (node.op !== 'kv-append') return []
    const readers = graph.nodes.filter(
      ({ op, attributes }) => op === 'attention' && attributes.layer === node.attributes.layer,
    )
    return readers.map((reader) => `  ${ids.get(node)} -> ${ids.get(reader)} [style=dashed, label="cache"]`)
  })
}

function outputLines(graph: Graph, ids: Map<Node, string>): string[] {
  return Object.entries(graph.outputs).flatMap(([name, id], i) => {
    const label = quote(name, formatShape(graph.values[id]!.shape))
    return [
      `  o${i} [shape=ellipse, peripheries=2, label=${label}]`,
      `  ${sourceOf(id, graph, ids)} -> o${i}`,
    ]
  })
}

/** A quoted string of several lines. */
function quote(...lines: string[]): string {
  return `"${lines.map((line) => line.replace(/["\\]/g, '\\$&')).join('\\n')}"`
}
