import { describe, expect, it } from 'vitest'
import { editsFor, LogitEdits } from '#kvasir/engine/logit-edits.js'
import { type SampledRow, SamplingTables } from '#kvasir/engine/sampling-tables.js'

const none = { repetition: 1, presence: 0, frequency: 0 }

/** (id, factor, offset) by id. */
function entries(edits: LogitEdits): [number, number, number][] {
  return Array.from(edits.ids, (id, i): [number, number, number] => [
    id,
    edits.factors[i]!,
    edits.offsets[i]!,
  ]).sort((a, b) => a[0] - b[0])
}

describe('edits of logits', () => {
  it('are none where nothing asks for them', () => {
    expect(editsFor({ penalties: none, logitBias: [] }, [1, 2])).toBeNull()
    expect(editsFor({ penalties: none, logitBias: [[1, 0.5]] }, [])).not.toBeNull()
  })

  it('add a bias, and ban', () => {
    const bias = new Map([[5, 1.5], [2, Number.NEGATIVE_INFINITY]]) // biome-ignore format: pairs
    const edits = new LogitEdits(none, bias, [5, 6, 7])
    edits.add(5)
    edits.add(9)
    expect(entries(edits)).toEqual([[2, 1, Number.NEGATIVE_INFINITY], [5, 1, 1.5]]) // biome-ignore format: pairs
  })

  it('repeat less of prompt and text', () => {
    const edits = new LogitEdits({ ...none, repetition: 1.25 }, new Map(), [3, 4, 3])
    edits.add(9)
    edits.add(3)
    expect(entries(edits)).toEqual([[3, 1.25, 0], [4, 1.25, 0], [9, 1.25, 0]]) // biome-ignore format: pairs
  })

  it('count what is in the text, not in the prompt', () => {
    const edits = new LogitEdits({ repetition: 1, presence: 0.5, frequency: 0.25 }, new Map([[7, 2]]), [7, 8])
    for (const id of [7, 9, 7, 7]) edits.add(id)
    expect(entries(edits)).toEqual([[7, 1, 2 - 0.5 - 0.75], [9, 1, -0.75]]) // biome-ignore format: pairs
  })

  it('grow, and go their own ways once cloned', () => {
    const ids = Array.from({ length: 1000 }, (_, i) => i * 3)
    const edits = new LogitEdits({ ...none, frequency: 1 }, new Map(), [])
    for (const id of ids) edits.add(id)
    const before = entries(edits)
    expect(before).toEqual(ids.map((id) => [id, 1, -1]))
    const clone = edits.clone()
    clone.add(3)
    clone.add(1)
    expect(entries(edits)).toEqual(before)
    expect(clone.count).toBe(1001)
    expect(entries(clone).slice(0, 3)).toEqual([[0, 1, -1], [1, 1, -1], [3, 1, -2]]) // biome-ignore format: pairs
  })
})

describe('sampling tables', () => {
  const row = (position: number, controls: SampledRow['controls'] = null): SampledRow => ({
    sampling: {
      temperature: 0.5,
      topK: position,
      typicalP: 1,
      topP: 0.25,
      minP: 0.125,
      seed: [7, -position],
    },
    position,
    controls,
  })

  it('have a row for each row of the step', () => {
    const tables = new SamplingTables(8, 100)
    tables.fill(Array.from({ length: 8 }, (_, i) => row(i)))
    expect(tables.fill([row(3), row(4)])).toEqual({
      temperature: Float32Array.of(0.5, 0.5),
      topK: Int32Array.of(3, 4),
      topP: Float32Array.of(0.25, 0.25),
      minP: Float32Array.of(0.125, 0.125),
      seed: Int32Array.of(7, -3, 7, -4),
      counter: Int32Array.of(3, 4),
    })
  })

  it('hold edits and masks of the rows that have some', () => {
    const tables = new SamplingTables(8, 40)
    const edits = new LogitEdits(none, new Map([[5, 1], [6, 2]]), []) // biome-ignore format: pairs
    const mask = Int32Array.of(-1, 255)
    const rows = [
      row(0, { edits, mask: null, forced: -1, top: 3 }),
      row(1),
      row(2, { edits: null, mask, forced: 9, top: 0 }),
      row(3, { edits, mask: Int32Array.of(1, 2), forced: -1, top: 64 }),
    ]
    for (let i = 0; i < 2; i++)
      expect(tables.fillControlled(rows)).toMatchObject({
        forced: Int32Array.of(-1, -1, 9, -1),
        topCounts: Int32Array.of(3, 0, 0, 64),
        editStarts: Int32Array.of(0, 2, 2, 2, 4),
        editIds: Int32Array.of(5, 6, 5, 6),
        editFactors: Float32Array.of(1, 1, 1, 1),
        editOffsets: Float32Array.of(1, 2, 1, 2),
        maskRows: Int32Array.of(-1, -1, 0, 1),
        masks: Int32Array.of(-1, 255, 1, 2),
        typicalP: Float32Array.of(1, 1, 1, 1),
        counter: Int32Array.of(0, 1, 2, 3),
      })
    expect(tables.fillControlled([row(0)])).toMatchObject({
      editStarts: Int32Array.of(0, 0),
      editIds: new Int32Array(0),
      maskRows: Int32Array.of(-1),
      masks: new Int32Array(0),
    })
  })
})
