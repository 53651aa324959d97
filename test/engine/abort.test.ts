import { type LanguageModel, loadModel } from 'kvasir'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fixture, slowCheckpoint } from './models.js'

describe('stopping', () => {
  let slow: { folder: string; remove(): void }
  let model: LanguageModel
  const prompt = Array.from({ length: 1000 }, (_, i) => i % 500)

  beforeAll(async () => {
    slow = await slowCheckpoint()
    model = await loadModel(slow.folder)
  })
  afterAll(async () => {
    await model.dispose()
    slow.remove()
  })

  /** The model still answers, and as before. */
  const works = async () => {
    const { ids } = await model.complete([1, 2, 3], { maxTokens: 3 })
    expect(ids).toHaveLength(3)
    return ids
  }

  it('rejects with the reason of a signal, before the work, in prefill and in decode', async () => {
    const expected = await works()
    const reason = new Error('enough')
    await expect(model.complete(prompt, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    for (const delayMs of [0, 1, 5, 30, 100]) {
      const controller = new AbortController()
      setTimeout(() => controller.abort(reason), delayMs)
      await expect(model.complete(prompt, { signal: controller.signal })).rejects.toBe(reason)
      expect(await works()).toEqual(expected)
    }
    const controller = new AbortController()
    let pieces = 0
    const reading = (async () => {
      for await (const _ of model.generate([1], { signal: controller.signal }))
        if (++pieces === 5) controller.abort(reason)
    })()
    await expect(reading).rejects.toBe(reason)
    expect(pieces).toBeGreaterThanOrEqual(5)
    expect(await works()).toEqual(expected)
  })

  it('stops waiting calls, nextTokens and logits too', async () => {
    const controller = new AbortController()
    const { signal } = controller
    const calls = [
      model.complete(prompt, { signal }),
      model.nextTokens(prompt, { signal }),
      model.logits(prompt, { signal }),
      model.complete(prompt, { signal }),
    ]
    setTimeout(() => controller.abort(), 20)
    for (const result of await Promise.allSettled(calls)) {
      expect(result.status).toBe('rejected')
      expect((result as PromiseRejectedResult).reason).toBe(signal.reason)
    }
    await works()
  })

  it('stops when the reader leaves the loop or throws in it', async () => {
    for await (const _ of model.generate([1, 2])) break
    await works()
    const failing = (async () => {
      for await (const _ of model.generate([1, 2])) throw new Error('reader')
    })()
    await expect(failing).rejects.toThrow('reader')
    await works()
  })

  it('does not start before it is read', async () => {
    model.generate(prompt)
    const { usage } = await model.complete([1], { maxTokens: 1 })
    expect(usage.promptTokens).toBe(1)
  })

  it('stops loading', async () => {
    const controller = new AbortController()
    const loading = loadModel(slow.folder, {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    })
    await expect(loading).rejects.toMatchObject({ name: 'AbortError' })
    expect(controller.signal.aborted).toBe(true)
    await expect(loadModel(slow.folder, { signal: AbortSignal.abort('no') })).rejects.toBe('no')
  })

  it('frees everything on dispose, with work under way', async () => {
    const other = await loadModel(slow.folder)
    const work = other.complete(prompt)
    const waiting = other.nextTokens([1])
    const [first, second] = [other.dispose(), other.dispose()]
    await expect(work).rejects.toMatchObject({ name: 'AbortError', code: 'ERR_ABORTED' })
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    await Promise.all([first, second])
    await expect(other.complete([1])).rejects.toMatchObject({ name: 'DisposedError', code: 'ERR_DISPOSED' })
    await expect(other.generate([1]).next()).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
  })

  it('can be loaded and disposed many times', async () => {
    for (let i = 0; i < 10; i++) {
      await using one = await loadModel(fixture)
      expect((await one.complete([1], { maxTokens: 1 })).ids).toHaveLength(1)
    }
  })
})
