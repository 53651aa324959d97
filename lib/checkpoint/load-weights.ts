import { KvasirError } from '../errors.js'
import type { Graph, Value } from '../graph/graph.js'
import type { Backend, LoadPart, WeightStore } from '../native/addon.js'
import { addon } from '../native/addon.js'
import type { MatchedTensor } from './match.js'

/** Rows of gate and up that stay together where they are interleaved. */
const interleavedRows = { rows: 1, panels: 32, tiles: 8 } as const

export interface LoadOptions {
  backend: Backend
  /** Raised from another thread to stop loading. */
  abort: Int32Array | null
  onProgress?: (loadedBytes: number, totalBytes: number) => void
}

/**
 * A store in the backend's memory with room for the weights of a laid-out graph.
 *
 * @throws {OutOfMemoryError} when there is not enough
 */
export function declareWeights(graph: Graph, backend: Backend): WeightStore {
  const store = new (addon().WeightStore)(backend)
  try {
    for (const value of graph.values) if (value.kind === 'weight') declare(store, value)
    return store
  } catch (error) {
    store.dispose()
    throw error
  }
}

/** Bytes of the tensors that `loadWeights` reads. */
export function bytesToLoad(graph: Graph, tensors: ReadonlyMap<string, MatchedTensor>): number {
  const weights = graph.values.filter((value) => value.kind === 'weight')
  return weights.flatMap((value) => partsOf(value, tensors)).reduce((sum, part) => sum + part.bytes, 0)
}

/**
 * Reads the weights of a laid-out graph from a checkpoint straight into the kernels' layout. Their bytes never pass
 * through JavaScript. Returns false when aborted on the way.
 */
export function loadWeights(
  store: WeightStore,
  graph: Graph,
  tensors: ReadonlyMap<string, MatchedTensor>,
  { backend, abort, onProgress }: LoadOptions,
): boolean {
  const weights = graph.values.filter((value) => value.kind === 'weight')
  const parts = weights.flatMap((value) => partsOf(value, tensors).map((part) => ({ value, ...part })))
  const totalBytes = parts.reduce((sum, part) => sum + part.bytes, 0)
  let loadedBytes = 0
  for (const { value, part, bytes } of parts) {
    if (!store.load(value.name, part, backend, abort)) return false
    loadedBytes += bytes
    onProgress?.(loadedBytes, totalBytes)
  }
  store.checkComplete()
  return true
}

function declare(store: WeightStore, value: Value): void {
  const [rows, cols] = matrixShape(value)
  const layout = value.layout ?? 'rows'
  const group = interleavedRows[layout]
  store.declare({
    name: value.name,
    dtype: value.dtype,
    layout,
    rows: value.stacked
      ? value.stacked * stackedRows(rows / value.stacked)
      : value.interleaved
        ? 2 * Math.ceil(rows / 2 / group) * group
        : rows,
    cols,
  })
}

/** What a matrix of so many rows takes in a stack: `stacked_rows` of native/types/tiles.h. */
export function stackedRows(rows: number): number {
  return Math.ceil(rows / 64) * 64
}

/** A vector is stored as a column. */
function matrixShape(value: Value): [number, number] {
  return [value.shape[0] as number, (value.shape[1] as number | undefined) ?? 1]
}

function partsOf(
  value: Value,
  tensors: ReadonlyMap<string, MatchedTensor>,
): { part: LoadPart; bytes: number }[] {
  let rowOffset = 0
  return (value.parts ?? []).map(({ parameter, rows }, i) => {
    const tensor = tensors.get(parameter)
    if (!tensor) throw new KvasirError('ERR_INTERNAL', `load: ${parameter} is no parameter of the checkpoint`)
    const part: LoadPart = {
      file: tensor.file,
      tensor: tensor.entry.name,
      rowOffset: value.interleaved ? 0 : rowOffset,
      transposed: tensor.transposed,
      pairedRows: tensor.pairedRows,
      rows: tensor.rows,
      addend: tensor.addend,
      interleave: value.interleaved ? (i as 0 | 1) : undefined,
    }
    if (value.stacked) part.filledRows = stackedRows(rows)
    rowOffset += part.filledRows ?? rows
    const share = tensor.rows ? tensor.rows.count / tensor.entry.shape[0]! : 1
    return { part, bytes: tensor.entry.bytes * share }
  })
}
