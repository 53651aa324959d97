import { GgufFiles } from '../checkpoint/gguf/gguf-files.js'
import { isArray } from '../checkpoint/gguf/metadata.js'
import { formatShape } from '../graph/graph.js'
import type { MetadataValue } from '../native/addon.js'

const shownCharacters = 100

/** What a GGUF file holds, whether or not its architecture is known. */
export function describeGguf(path: string) {
  const gguf = GgufFiles.open(path)
  try {
    const tensors = [...gguf.tensors.values()].map(({ entry, fileName }) => ({ ...entry, file: fileName }))
    return { metadata: Object.fromEntries(gguf.metadata.entries()), tensors }
  } finally {
    gguf.close()
  }
}

export type GgufDescription = ReturnType<typeof describeGguf>

export function ggufText({ metadata, tensors }: GgufDescription): string {
  const keys = Object.entries(metadata).map(([key, value]) => [key, valueText(value)])
  const rows = tensors.map(({ name, dtype, shape }) => [name, dtype, formatShape(shape)])
  return `metadata\n\n${table(keys)}\ntensors\n\n${table(rows)}`
}

function valueText(value: MetadataValue): string {
  if (isArray(value)) return `${value.length.toLocaleString('en')} ${value.elements}s`
  if (typeof value !== 'string') return String(value)
  const text = JSON.stringify(value)
  return text.length > shownCharacters ? `${text.slice(0, shownCharacters)}...` : text
}

/** Rows of the same number of cells, in columns. */
function table(rows: string[][]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const line = (row: string[]) => row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ')
  return rows.map((row) => `${line(row).trimEnd()}\n`).join('')
}
