import type { Graph, Node, Value, ValueId, ValueKind } from './graph.js'
import { formatShape } from './graph.js'
import type { FoldedRun, Run } from './listing/blocks.js'
import { foldRuns, groupByBlock, nodesByBlock, splitPath } from './listing/blocks.js'
import { formatBytes, graphTotals, weightBytes } from './listing/sizes.js'
import { describeNode } from './listing/words.js'

export interface ListingOptions {
  /** Lists every layer, where otherwise layers that are alike are listed once. */
  all?: boolean
}

interface Row {
  block: string | undefined
  path: string
  words: string
  shapes: string
  dtype: string
  bytes: string
}

/**
 * A graph for reading: a row a node with its module path, what it does, the shapes of what it reads and makes, and the
 * dtype and bytes of its weights; then what the graph holds in total.
 */
export function listGraph(graph: Graph, { all = false }: ListingOptions = {}): string {
  const runs = groupByBlock(listRows(graph), (row) => row.block)
  const folded = all
    ? runs.map((run) => ({ ...run, blocks: [run.block ?? ''] }))
    : foldRuns(runs, signatureOf)
  const table = align(folded.flatMap(runCells))
  return [
    `inputs   ${listInputs(graph)}`,
    '',
    ...table,
    '',
    `outputs  ${listOutputs(graph)}`,
    totals(graph),
  ].join('\n')
}

function listRows(graph: Graph): Row[] {
  const seen = new Set<ValueId>()
  return nodesByBlock(graph).map((node) => {
    const { block, rest } = splitPath(node.name)
    const path = block === undefined ? rest : `  .${rest}`
    return {
      block,
      path,
      words: describeNode(node, graph),
      shapes: shapes(node, graph),
      ...weights(node, graph, seen),
    }
  })
}

/** `(N, 768), (N, 768) -> (N, 768)`: the activations that a node reads, or else its step inputs, and what it makes. */
function shapes(node: Node, graph: Graph): string {
  const read = Object.values(node.inputs).map((id) => graph.values[id]!)
  const made = Object.values(node.outputs).map((id) => graph.values[id]!)
  const ofKind = (kind: ValueKind) => joinShapes(read.filter((value) => value.kind === kind))
  return `${ofKind('result') || ofKind('input')} -> ${joinShapes(made) || 'cache'}`
}

function joinShapes(values: readonly Value[]): string {
  return values.map(({ shape }) => formatShape(shape)).join(', ')
}

/** Dtype of a node's largest weight and bytes of all; what an earlier row has counted is not counted again. */
function weights(node: Node, graph: Graph, seen: Set<ValueId>): { dtype: string; bytes: string } {
  const own = [...new Set(Object.values(node.inputs))]
    .map((id) => graph.values[id]!)
    .filter(({ kind }) => kind === 'weight')
    .sort((a, b) => weightBytes(b) - weightBytes(a))
  const fresh = own.filter(({ id }) => !seen.has(id))
  for (const { id } of own) seen.add(id)
  const [largest] = own
  if (!largest) return { dtype: '', bytes: '' }
  const bytes = fresh.reduce((total, weight) => total + weightBytes(weight), 0)
  return {
    dtype: largest.dtype,
    bytes: fresh.includes(largest) ? formatBytes(bytes) : `shared, ${largest.name}`,
  }
}

/** What makes two layers alike: everything but their number. */
function signatureOf({ items }: Run<Row>): string {
  return items
    .map(({ path, words, shapes, dtype, bytes }) =>
      [path, words.replace(/\blayer \d+/, 'layer'), shapes, dtype, bytes].join('\t'),
    )
    .join('\n')
}

function runCells({ blocks, block, items }: FoldedRun<Row>): string[][] {
  const rows = items.map(({ path, words, shapes, dtype, bytes }) => [path, words, shapes, dtype, bytes])
  return block === undefined ? rows : [[heading(blocks)], ...rows]
}

/** `h.0 ... h.11  x 12`, `h.0, h.2 ... h.10  x 6` */
function heading(blocks: readonly string[]): string {
  const [first, second] = blocks
  if (second === undefined) return first!
  const steps = Number(second.split('.').at(-1)) - Number(first!.split('.').at(-1))
  const start = blocks.length === 2 || steps > 1 ? `${first}, ${second}` : first!
  return `${blocks.length === 2 ? start : `${start} ... ${blocks.at(-1)}`}  x ${blocks.length}`
}

/** Columns two spaces apart. A line of one cell is a heading, which pushes no column. */
function align(lines: readonly string[][]): string[] {
  const widths: number[] = []
  for (const cells of lines) {
    if (cells.length === 1) continue
    cells.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length)
    })
  }
  return lines.map((cells) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

function listInputs(graph: Graph): string {
  return graph.values
    .filter(({ kind }) => kind === 'input')
    .map(({ name, shape }) => `${name} ${formatShape(shape)}`)
    .join(', ')
}

function listOutputs(graph: Graph): string {
  return Object.entries(graph.outputs)
    .map(([name, id]) => `${name} ${formatShape(graph.values[id]!.shape)}`)
    .join(', ')
}

function totals(graph: Graph): string {
  const { parameters, weightBytes, nodes } = graphTotals(graph)
  return `totals   ${parameters.toLocaleString('en')} parameters, ${formatBytes(weightBytes)}, ${nodes} nodes`
}
