import { beforeEach, describe, expect, it } from 'vitest'
import { BlockPool } from '#kvasir/engine/block-pool.js'
import { Sequence, type SequenceOptions } from '#kvasir/engine/sequence.js'

const range = (length: number, first = 0) => Array.from({ length }, (_, i) => first + i)

describe('a sequence', () => {
  let pool: BlockPool
  beforeEach(() => {
    pool = new BlockPool(8)
  })

  const computed = (ids: number[], options?: SequenceOptions) => {
    const sequence = new Sequence(ids, options)
    sequence.takePrefix(pool)
    expect(sequence.reserve(ids.length, pool)).toBe(true)
    sequence.commit(ids.length, pool)
    return sequence
  }

  it('takes blocks for its tokens, and gives them back', () => {
    const sequence = new Sequence(range(70))
    expect(sequence.missingBlocks(64)).toBe(2)
    expect(sequence.reserve(64, pool)).toBe(true)
    expect(sequence.missingBlocks(65)).toBe(1)
    expect(sequence.blocks).toHaveLength(2)
    sequence.release(pool)
    expect(pool.available).toBe(8)
  })

  it('keeps what it could get where there are too few', () => {
    const sequence = new Sequence(range(300))
    expect(sequence.reserve(300, pool)).toBe(false)
    expect(sequence.blocks).toHaveLength(8)
    expect(pool.available).toBe(0)
    sequence.release(pool)
    expect(pool.available).toBe(8)
  })

  it('begins with the full blocks of another one, and leaves the last token to compute', () => {
    const first = computed(range(64))
    const same = computed(range(64))
    expect(same.blocks[0]).toBe(first.blocks[0])
    expect(same.blocks[1]).not.toBe(first.blocks[1])
    const longer = new Sequence(range(65))
    longer.takePrefix(pool)
    expect(longer.computed).toBe(64)
    expect(longer.blocks).toEqual(first.blocks)
    const other = new Sequence([...range(31), 99, ...range(33)])
    other.takePrefix(pool)
    expect(other.computed).toBe(0)
  })

  it('shares with its own salt alone, and not at all where it is told not to', () => {
    computed(range(64), { salt: 'a' })
    computed(range(64, 500), { reusesPrefix: false })
    const begins = (ids: number[], options: SequenceOptions) => {
      const sequence = new Sequence(ids, options)
      sequence.takePrefix(pool)
      const { computed } = sequence
      sequence.release(pool)
      return computed
    }
    expect(begins(range(65), { salt: 'a' })).toBe(64)
    expect(begins(range(65), { salt: 'b' })).toBe(0)
    expect(begins(range(65), {})).toBe(0)
    expect(begins(range(65), { salt: 'a', reusesPrefix: false })).toBe(0)
    expect(begins(range(65, 500), {})).toBe(0)
  })

  it('forgets its end, and what it may not write to', () => {
    const sequence = computed(range(70))
    sequence.truncate(66, pool)
    expect(sequence).toMatchObject({ computed: 66, pending: 0 })
    sequence.truncate(64, pool)
    expect(sequence).toMatchObject({ computed: 64, pending: 0 })
    expect(sequence.blocks).toHaveLength(2)
    sequence.truncate(50, pool) // within a block that others may find
    expect(sequence).toMatchObject({ computed: 32, pending: 18 })
    expect(sequence.blocks).toHaveLength(1)
    sequence.truncate(0, pool)
    expect(sequence).toMatchObject({ computed: 0, pending: 0 })
    expect(pool.available).toBe(8)
  })

  it('writes on in a block that is its own', () => {
    const sequence = computed(range(60), { reusesPrefix: false })
    const blocks = [...sequence.blocks]
    sequence.truncate(40, pool)
    expect(sequence.blocks).toEqual(blocks)
    expect(sequence.computed).toBe(40)
    sequence.truncate(20, pool)
    expect(sequence.blocks).toEqual(blocks.slice(0, 1))
  })

  it('forks: full blocks are shared, the last one is copied', () => {
    const sequence = computed(range(70))
    const copies: number[] = []
    const fork = sequence.fork(70, pool, copies)
    expect(fork).toMatchObject({ computed: 70, pending: 0, ids: range(70) })
    expect(fork.blocks.slice(0, 2)).toEqual(sequence.blocks.slice(0, 2))
    expect(copies).toEqual([sequence.blocks[2], fork.blocks[2]])
    const short = sequence.fork(64, pool, copies)
    expect(copies).toHaveLength(2)
    expect(short.blocks).toEqual(sequence.blocks.slice(0, 2))
    for (const one of [sequence, fork, short]) one.release(pool)
    expect(pool.available).toBe(8)
  })

  it('forks without a copy where there is no block for one', () => {
    const sequence = computed(range(70))
    const others = Array.from({ length: 5 }, () => computed(range(3), { reusesPrefix: false }))
    const copies: number[] = []
    const fork = sequence.fork(70, pool, copies)
    expect(copies).toEqual([])
    expect(fork).toMatchObject({ computed: 64, pending: 6 })
    for (const one of [sequence, fork, ...others]) one.release(pool)
    expect(pool.available).toBe(8)
  })

  it('forks what is computed of it, when not all is', () => {
    const sequence = new Sequence(range(70))
    sequence.reserve(70, pool)
    sequence.commit(40, pool)
    const copies: number[] = []
    const fork = sequence.fork(70, pool, copies)
    expect(fork).toMatchObject({ computed: 40, pending: 30 })
    expect(copies).toHaveLength(2)
  })

  it('does not write to a block that a fork has', () => {
    const sequence = computed(range(64), { reusesPrefix: false })
    const fork = sequence.fork(64, pool, [])
    fork.truncate(50, pool)
    expect(fork.blocks).toEqual(sequence.blocks.slice(0, 1))
    expect(fork.computed).toBe(32)
    sequence.truncate(50, pool) // now nobody else has it
    expect(sequence.computed).toBe(50)
  })

  it('is evicted from its end', () => {
    const sequence = computed(range(128))
    const blocks = [...sequence.blocks]
    sequence.release(pool)
    for (let i = 0; i < 4; i++) pool.take() // those that hold nothing
    expect([pool.take(), pool.take()]).toEqual([blocks[3], blocks[2]])
    const again = new Sequence(range(129))
    again.takePrefix(pool)
    expect(again.blocks).toEqual(blocks.slice(0, 2))
  })
})
