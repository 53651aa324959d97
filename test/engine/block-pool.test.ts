import { describe, expect, it } from 'vitest'
import { BlockPool, chainStart } from '#kvasir/engine/block-pool.js'

const tokens = (first: number) => Array.from({ length: 32 }, (_, i) => first + i)
const start = chainStart('')

describe('a block pool', () => {
  it('gives each block to one owner until there are none', () => {
    const pool = new BlockPool(3)
    const taken = [pool.take(), pool.take(), pool.take()]
    expect(new Set(taken)).toEqual(new Set([0, 1, 2]))
    expect(pool.take()).toBeUndefined()
    expect(pool.available).toBe(0)
    expect(pool.counts).toEqual({ blocks: 3, usedBlocks: 3, blockTokens: 32 })
    pool.release(taken[1]!)
    expect(pool.available).toBe(1)
    expect(pool.take()).toBe(taken[1])
  })

  it('takes a block that was used before one that never was', () => {
    const pool = new BlockPool(3)
    const block = pool.take()!
    pool.release(block)
    expect(pool.take()).toBe(block)
  })

  it('keeps a shared block until its last owner gives it back', () => {
    const pool = new BlockPool(2)
    const block = pool.take()!
    pool.share(block)
    expect(pool.owners(block)).toBe(2)
    pool.release(block)
    expect(pool.available).toBe(1)
    pool.release(block)
    expect(pool.available).toBe(2)
  })

  it('finds a published block by its tokens and all before them, as long as it is there', () => {
    const pool = new BlockPool(2)
    const [a, b] = [pool.take()!, pool.take()!]
    const chain = pool.publish(a, start, tokens(0))
    pool.publish(b, chain, tokens(50))
    expect(pool.find(start, tokens(50))).toBeUndefined()
    expect(pool.find(chainStart('other'), tokens(0))).toBeUndefined()
    expect(pool.find(chain, tokens(0))).toBeUndefined()
    const found = pool.find(start, tokens(0))!
    expect(found).toEqual({ block: a, chain })
    expect(pool.find(found.chain, tokens(50))!.block).toBe(b)
    expect(pool.owners(a)).toBe(2)
    for (const block of [a, a, b, b]) pool.release(block)
    expect(pool.available).toBe(2)
    expect(pool.find(start, tokens(0))!.block).toBe(a) // still known, though nobody has it
    expect(pool.available).toBe(1)
  })

  it('leaves the block known that was first, where two hold the same', () => {
    const pool = new BlockPool(2)
    const [a, b] = [pool.take()!, pool.take()!]
    const chain = pool.publish(a, start, tokens(0))
    expect(pool.publish(b, start, tokens(0))).toBe(chain)
    pool.release(a)
    pool.release(b)
    expect(pool.take()).toBe(b) // it holds nothing that anyone could find
    expect(pool.find(start, tokens(0))!.block).toBe(a)
  })

  it('needs the known blocks last, the one first that was given back first', () => {
    const pool = new BlockPool(4)
    const blocks = [0, 1, 2].map(() => pool.take()!)
    for (const [i, block] of blocks.entries()) pool.publish(block, start, tokens(100 * i))
    for (const i of [1, 0, 2]) pool.release(blocks[i]!)
    const unused = pool.take()
    expect(blocks).not.toContain(unused)
    pool.release(pool.find(start, tokens(100))!.block) // looked at again: now the last
    expect([pool.take(), pool.take(), pool.take()]).toEqual([blocks[0], blocks[2], blocks[1]])
    for (const i of [0, 1, 2]) expect(pool.find(start, tokens(100 * i))).toBeUndefined()
  })

  it('never continues a chain whose beginning was taken for something else', () => {
    const pool = new BlockPool(2)
    const [a, b] = [pool.take()!, pool.take()!]
    pool.publish(b, pool.publish(a, start, tokens(0)), tokens(50))
    pool.release(a)
    pool.release(b)
    const again = pool.take()!
    expect(again).toBe(a)
    const chain = pool.publish(again, start, tokens(0))
    expect(pool.find(chain, tokens(50))).toBeUndefined()
  })
})
