import type { DType, Graph, Value } from '../graph.js'

export interface GraphTotals {
  /** Numbers of all weights; one that several nodes read counts once. */
  parameters: number
  /** Bytes of these numbers, without what a layout pads them with. */
  weightBytes: number
  nodes: number
}

export function graphTotals(graph: Graph): GraphTotals {
  const weights = graph.values.filter((value) => value.kind === 'weight')
  return {
    parameters: weights.reduce((total, weight) => total + numElements(weight), 0),
    weightBytes: weights.reduce((total, weight) => total + weightBytes(weight), 0),
    nodes: graph.nodes.length,
  }
}

/** Bytes of a weight's numbers, without padding. */
export function weightBytes(weight: Value): number {
  return numElements(weight) * bytesPerElement[weight.dtype]
}

// Of blocked types without the padding of a row's last block.
const bytesPerElement: Record<DType, number> = { f32: 4, f16: 2, bf16: 2, i32: 4, q8: 34 / 32, q4: 20 / 32 }

function numElements({ shape }: Value): number {
  return shape.reduce<number>((product, dim) => product * Number(dim), 1)
}

/** `96 B`, `1.5 KiB`, `474.7 MiB` */
export function formatBytes(bytes: number): string {
  const units = ['KiB', 'MiB', 'GiB', 'TiB']
  if (bytes < 1024) return `${bytes} B`
  const power = Math.min(Math.floor(Math.log2(bytes) / 10), units.length)
  return `${(bytes / 1024 ** power).toFixed(1)} ${units[power - 1]}`
}
