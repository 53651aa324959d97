import { invalidValue, KvasirError } from '../../errors.js'
import { blockTokens } from '../graph.js'
import type { Call } from './call.js'

interface KeyValue {
  key: Float64Array // (KH,D)
  value: Float64Array // (KH,D)
}

/** The paged cache. It holds what was appended and nothing else, so that reading a wrong place is found out. */
export class KvCache {
  #layers = new Map<number, Map<number, KeyValue>>()

  write(layer: number, slot: number, row: KeyValue): void {
    const rows = this.#layers.get(layer) ?? new Map<number, KeyValue>()
    this.#layers.set(layer, rows.set(slot, row))
  }

  read(layer: number, slot: number): KeyValue {
    const row = this.#layers.get(layer)?.get(slot)
    if (row) return row
    throw new KvasirError(
      'ERR_INVALID_ARG_VALUE',
      `attention: blockTables must lead to appended keys, got place ${slot % blockTokens} of block ` +
        `${Math.floor(slot / blockTokens)}, where layer ${layer} has none`,
    )
  }

  clear(): void {
    this.#layers.clear()
  }
}

/** A token of the step: its sequence's index and its position in that sequence. */
export interface StepToken {
  sequence: number
  position: number
}

/** Reads the step's tables: which sequence and position each of its tokens has. */
export function stepTokens(call: Call, N: number): StepToken[] {
  const starts = call.integers('queryStarts')
  const lengths = call.integers('contextLengths')
  const where = `${call.node.op}: queryStarts`
  if (starts[0] !== 0 || starts.at(-1) !== N) {
    throw invalidValue(where, `from 0 to ${N}`, `${starts[0]} to ${starts.at(-1)}`)
  }
  const tokens: StepToken[] = []
  lengths.forEach((length, sequence) => {
    const count = starts[sequence + 1]! - starts[sequence]!
    if (count < 0) throw invalidValue(where, 'in ascending order', starts.join(', '))
    if (length < count) {
      throw invalidValue(`${call.node.op}: contextLengths[${sequence}]`, `at least ${count}`, length)
    }
    for (let i = 0; i < count; i++) tokens.push({ sequence, position: length - count + i })
  })
  return tokens
}

/** The place in the cache of a sequence's position, counted through all blocks. */
export function slotOf(call: Call, sequence: number, position: number): number {
  const tables = call.integers('blockTables')
  const [, W] = call.size('blockTables')
  const column = Math.floor(position / blockTokens)
  const block = column < W ? tables[sequence * W + column]! : -1
  if (block < 0) {
    const where = `${call.node.op}: blockTables of sequence ${sequence}`
    throw invalidValue(where, `a block for position ${position}`, column < W ? block : `${W} columns`)
  }
  return block * blockTokens + (position % blockTokens)
}
