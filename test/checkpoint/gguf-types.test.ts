import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { addon } from '#kvasir/native/addon.js'
import { Random } from '../graph/random.js'
import { temporaryFolder } from './folders.js'
import { formats } from './gguf-formulas.js'
import { writeGguf } from './gguf-writer.js'

const folder = temporaryFolder()

/** Blocks of any bits, but for scales, which are finite. */
function randomBlocks(name: string, count: number): Uint8Array {
  const { bytes, halves, id } = formats[name]!
  const random = new Random(id)
  const blocks = Uint8Array.from({ length: count * bytes }, () => random.integer(0, 255))
  for (let block = 0; block < count; block++) {
    // An exponent of ones is no number.
    for (const at of halves)
      if ((blocks[block * bytes + at + 1]! & 0x7c) === 0x7c) blocks[block * bytes + at + 1]! ^= 4
    if (name === 'MXFP4') blocks[block * bytes] = Math.min(block < 4 ? block : blocks[block * bytes]!, 250)
  }
  return blocks
}

describe('GGUF blocks', () => {
  it.each(Object.keys(formats))('%s have the values of the formula, bit for bit', (name) => {
    const { id, numbers, bytes, value } = formats[name]!
    const [rows, perRow] = [37, 3]
    const cols = perRow * numbers
    const data = randomBlocks(name, rows * perRow)
    const path = join(folder, `${name}.gguf`)
    writeGguf(path, { values: [], tensors: [{ name: 't', dims: [cols, rows], type: id, data }] })
    const file = new (addon().CheckpointFile)(path)
    expect(file.tensors()).toEqual([{ name: 't', dtype: name, shape: [rows, cols], bytes: data.length }])
    const backend = new (addon().Backend)({ threads: 2 })
    const store = new (addon().WeightStore)(backend)
    store.declare({ name: 't', dtype: 'f32', layout: 'rows', rows, cols })
    expect(store.load('t', { file, tensor: 't', rowOffset: 0, transposed: false }, backend, null)).toBe(true)
    const found = store.copyOut('t')
    for (let block = 0; block < rows * perRow; block++) {
      const own = data.subarray(block * bytes, (block + 1) * bytes)
      for (let i = 0; i < numbers; i++)
        // Zeros of both signs are equal.
        if (found[block * numbers + i] !== value(own, i))
          expect(found[block * numbers + i], `number ${i} of block ${block}`).toBe(value(own, i))
    }
    for (const one of [store, backend, file]) one.dispose()
  })

  it('are loaded in every layout, in pieces, and as pairs of rows', () => {
    const { id, numbers, value, bytes } = formats.Q8_0!
    const [rows, cols] = [128, 70 * numbers]
    const data = randomBlocks('Q8_0', rows * 70)
    const path = join(folder, 'layouts.gguf')
    writeGguf(path, { values: [], tensors: [{ name: 't', dims: [cols, rows], type: id, data }] })
    const file = new (addon().CheckpointFile)(path)
    const backend = new (addon().Backend)({ threads: 3 })
    const truth = (row: number, col: number) => {
      const block = row * 70 + Math.floor(col / numbers)
      return value(data.subarray(block * bytes, (block + 1) * bytes), col % numbers)
    }
    for (const layout of ['rows', 'panels'] as const) {
      for (const pairedRows of [undefined, 2, 16, 128]) {
        const store = new (addon().WeightStore)(backend)
        store.declare({ name: 't', dtype: 'f32', layout, rows, cols })
        store.load('t', { file, tensor: 't', rowOffset: 0, transposed: false, pairedRows }, backend, null)
        const found = store.copyOut('t')
        const size = pairedRows ?? 1
        for (let row = 0; row < rows; row++) {
          const [head, i] = [row - (row % size), row % size]
          const from = pairedRows ? head + ((i % (size / 2)) * 2 + Math.floor(i / (size / 2))) : row
          for (let col = 0; col < cols; col += 13)
            if (found[row * cols + col] !== truth(from, col))
              expect(found[row * cols + col], `${layout}, ${pairedRows}, ${row}, ${col}`).toBe(
                truth(from, col),
              )
        }
        store.dispose()
      }
    }
    for (const pairedRows of [3, 6, 256])
      expect(() => {
        const store = new (addon().WeightStore)(backend)
        store.declare({ name: 't', dtype: 'f32', layout: 'rows', rows, cols })
        store.load('t', { file, tensor: 't', rowOffset: 0, transposed: false, pairedRows }, backend, null)
      }).toThrow(/paired_rows/)
    backend.dispose()
    file.dispose()
  })
})
