import { execFile } from 'node:child_process'
import { setTimeout as later } from 'node:timers/promises'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { type LanguageModel, type LoadOptions, loadModel, type Sequence } from 'kvasir'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rootDir } from '../shared.js'
import { fixture, slowCheckpoint } from './models.js'

const range = (length: number, first = 0) => Array.from({ length }, (_, i) => (first + i * 3) % 71)

async function withBlocks(blocks: number, options: LoadOptions = {}): Promise<LanguageModel> {
  const plain = await loadModel(fixture)
  const { cache } = await plain.stats()
  await plain.dispose()
  return loadModel(fixture, { ...options, cacheBytes: (cache.bytes / cache.blocks) * blocks })
}

/** The logits after the last of a text's tokens. */
async function lastLogits(model: LanguageModel, ids: number[]): Promise<Float32Array> {
  const { data, shape } = await model.logits(ids)
  return data.slice((shape[0] - 1) * shape[1])
}

describe('a kept sequence', () => {
  let model: LanguageModel
  beforeAll(async () => {
    model = await loadModel(fixture)
  })
  afterAll(() => model.dispose())

  it('gives the logits of its ids, however they came', async () => {
    await using sequence = await model.sequence(range(10))
    expect(await sequence.logits()).toEqual(await lastLogits(model, range(10)))
    await sequence.append([4, 5])
    expect(sequence.length).toBe(12)
    expect(await sequence.logits()).toEqual(await lastLogits(model, [...range(10), 4, 5]))
    await sequence.append([])
    expect(await sequence.logits()).toEqual(await lastLogits(model, [...range(10), 4, 5]))
    await sequence.truncate(7)
    expect(await sequence.logits()).toEqual(await lastLogits(model, range(7)))
    await sequence.truncate(0)
    await expect(sequence.logits()).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' })
    await sequence.append([1])
    expect(await sequence.logits()).toEqual(await lastLogits(model, [1]))
  })

  it('does what it is told in the order in which it is told', async () => {
    await using sequence = await model.sequence([1, 2])
    const calls = [
      sequence.append([3]),
      sequence.logits(),
      sequence.append([4, 5]),
      sequence.fork(),
      sequence.truncate(1),
      sequence.logits(),
      sequence.append([9]),
      sequence.logits(),
    ] as const
    const [, first, , fork, , second, , third] = await Promise.all(calls)
    expect(first).toEqual(await lastLogits(model, [1, 2, 3]))
    expect(await fork.logits()).toEqual(await lastLogits(model, [1, 2, 3, 4, 5]))
    expect(second).toEqual(await lastLogits(model, [1]))
    expect(third).toEqual(await lastLogits(model, [1, 9]))
    expect([sequence.length, fork.length]).toEqual([2, 5])
    await fork.dispose()
  })

  it('forks into sequences that go their own ways', async () => {
    await using sequence = await model.sequence(range(40))
    await using fork = await sequence.fork()
    await Promise.all([sequence.append([1, 2]), fork.append([3])])
    await using second = await fork.fork()
    await second.truncate(30)
    await second.append([6, 7, 8])
    expect(await sequence.logits()).toEqual(await lastLogits(model, [...range(40), 1, 2]))
    expect(await fork.logits()).toEqual(await lastLogits(model, [...range(40), 3]))
    expect(await second.logits()).toEqual(await lastLogits(model, [...range(40).slice(0, 30), 6, 7, 8]))
    expect([sequence.length, fork.length, second.length]).toEqual([42, 41, 33])
  })

  it('refuses what it cannot be, and stays as it was', async () => {
    await using sequence = await model.sequence(range(50))
    await expect(sequence.append(range(15))).rejects.toMatchObject({ code: 'ERR_CONTEXT_FULL' })
    await expect(sequence.append([71])).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' })
    await expect(sequence.truncate(51)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' })
    expect(await sequence.logits()).toEqual(await lastLogits(model, range(50)))
    await expect(model.sequence([71])).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' })
    await expect(model.sequence(range(65))).rejects.toMatchObject({ code: 'ERR_CONTEXT_FULL' })
    await sequence.dispose()
    expect(await model.stats()).toMatchObject({ running: 0, waiting: 0, cache: { usedBlocks: 0 } })
  })

  it('is not there any more once it is disposed', async () => {
    const sequence = await model.sequence([1])
    const last = sequence.append([2])
    await Promise.all([sequence.dispose(), sequence.dispose()])
    await expect(last).resolves.toBeUndefined()
    for (const call of [sequence.append([1]), sequence.logits(), sequence.fork(), sequence.truncate(0)])
      await expect(call).rejects.toMatchObject({ name: 'DisposedError', code: 'ERR_DISPOSED' })
  })

  it('ends with its model', async () => {
    const other = await loadModel(fixture)
    const sequence = await other.sequence([1])
    const work = expect(sequence.append([2])).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    await Promise.all([work, other.dispose()])
    await expect(sequence.logits()).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
    await sequence.dispose()
  })
})

describe('kept sequences among each other and others', () => {
  // What is done with one of several sequences; numbers are taken modulo what there is.
  const action = fc.record({
    which: fc.nat(),
    what: fc.constantFrom('append', 'append', 'append', 'logits', 'fork', 'truncate', 'dispose', 'generate'),
    length: fc.nat(40),
    first: fc.nat(3),
  })

  it.each([
    ['with room for all', 64],
    ['with room for two', 4],
  ])('give the bits of model.logits after any operations, %s', async (_, blocks) => {
    await using reference = await loadModel(fixture, { threads: 1 })
    await using model = await withBlocks(blocks, { threads: 2, stepTokens: 32 })
    const known = new Map<string, Promise<Float32Array>>()
    const expected = (ids: number[]) => {
      const key = ids.join()
      if (!known.has(key)) known.set(key, lastLogits(reference, ids))
      return known.get(key)!
    }
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 30 }), async (actions) => {
        const held: { sequence: Sequence; ids: number[] }[] = [{ sequence: await model.sequence(), ids: [] }]
        const work: Promise<unknown>[] = []
        for (const { which, what, length, first } of actions) {
          if (held.length === 0) held.push({ sequence: await model.sequence([first]), ids: [first] })
          const one = held[which % held.length]!
          const { sequence, ids } = one
          if (what === 'append' && ids.length + length <= 64) {
            ids.push(...range(length, first))
            work.push(sequence.append(range(length, first)))
          } else if (what === 'logits' && ids.length > 0) {
            const right = expected([...ids])
            work.push(sequence.logits().then(async (logits) => expect(logits).toEqual(await right)))
          } else if (what === 'truncate') {
            ids.length = Math.min(ids.length, length)
            work.push(sequence.truncate(ids.length))
          } else if (what === 'fork' && held.length < 5) {
            held.push({ sequence: await sequence.fork(), ids: [...ids] })
          } else if (what === 'dispose') {
            held.splice(held.indexOf(one), 1)
            work.push(sequence.dispose())
          } else if (what === 'generate') {
            work.push(model.complete(range(length + 1, first), { maxTokens: 5 }))
          }
        }
        await Promise.all(work)
        for (const { sequence, ids } of held) {
          expect(sequence.length).toBe(ids.length)
          if (ids.length > 0) expect(await sequence.logits()).toEqual(await expected(ids))
          await sequence.dispose()
        }
        expect(await model.stats()).toMatchObject({
          running: 0,
          waiting: 0,
          failed: 0,
          cache: { usedBlocks: 0 },
        })
      }),
      { numRuns: 60, seed: 4 },
    )
  })

  it('are not computed again for nobody, when others have taken their blocks', async () => {
    await using model = await withBlocks(3)
    await using a = await model.sequence(range(60))
    await using b = await model.sequence(range(60, 1)) // has taken a's
    await later(30)
    const { steps, preemptions } = await model.stats()
    expect(preemptions).toBe(1)
    await later(30)
    expect((await model.stats()).steps).toBe(steps)
    expect(await a.logits()).toEqual(await lastLogits(model, range(60)))
    expect(await b.logits()).toEqual(await lastLogits(model, range(60, 1)))
  })

  it('do not count as waiting when they are empty', async () => {
    await using model = await loadModel(fixture)
    await using _sequence = await model.sequence()
    expect((await model.stats()).waiting).toBe(0)
  })
})

describe('a kept sequence that is interrupted', () => {
  let slow: { folder: string; remove(): void }
  let model: LanguageModel
  beforeAll(async () => {
    slow = await slowCheckpoint()
    model = await loadModel(slow.folder, { stepTokens: 64 })
  })
  afterAll(async () => {
    await model.dispose()
    slow.remove()
  })

  it('is as it was before, and what was told behind takes effect', async () => {
    await using sequence = await model.sequence([1, 2, 3])
    const controller = new AbortController()
    const calls = [
      sequence.append(range(900), { signal: controller.signal }),
      sequence.append([4]),
      sequence.logits(),
    ]
    await later(60)
    controller.abort('enough')
    const [first, second, third] = await Promise.allSettled(calls)
    expect(first).toMatchObject({ status: 'rejected', reason: 'enough' })
    expect(second).toMatchObject({ status: 'fulfilled' })
    expect((third as PromiseFulfilledResult<Float32Array>).value).toEqual(
      await lastLogits(model, [1, 2, 3, 4]),
    )
    expect(sequence.length).toBe(4)
  })

  it('keeps its last token when its logits are not waited for', async () => {
    await using sequence = await model.sequence(range(70))
    await sequence.truncate(65)
    for (let delayMs = 0; delayMs < 4; delayMs++) {
      const controller = new AbortController()
      const call = sequence.logits({ signal: controller.signal })
      setTimeout(() => controller.abort('enough'), delayMs)
      await call.catch((error) => expect(error).toBe('enough'))
    }
    expect(await sequence.logits()).toEqual(await lastLogits(model, range(70).slice(0, 65)))
  })

  it('gives its blocks back when it is lost without dispose', async () => {
    const script = `import { loadModel } from 'kvasir'
      const model = await loadModel(${JSON.stringify(fixture)})
      const used = async () => (await model.stats()).cache.usedBlocks
      await (async () => {
        for (let i = 0; i < 50; i++) await model.sequence([1, 2, 3, i])
      })()
      const before = await used()
      for (let i = 0; i < 100 && (await used()) > 0; i++) {
        globalThis.gc()
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      console.log(before > 0, await used())`
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--expose-gc', '--input-type=module', '-e', script],
      { cwd: rootDir },
    )
    expect(stdout).toBe('true 0\n')
  })
})
