import { execFile } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { estimateMemory, loadModel } from 'kvasir'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rootDir } from '../shared.js'
import { fixture, slowCheckpoint } from './models.js'

const run = promisify(execFile)
const MiB = 2 ** 20

/** Peak memory of a process that loads a model and uses it a little, in bytes. */
async function peakOf(folder: string): Promise<number> {
  const script = `import { loadModel } from 'kvasir'
    const model = await loadModel(${JSON.stringify(folder)})
    await model.complete([1, 2, 3], { maxTokens: 2 })
    await model.dispose()
    console.log(process.resourceUsage().maxRSS)`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { cwd: rootDir })
  return Number(stdout) * 1024
}

describe('memory', () => {
  let slow: { folder: string; remove(): void }
  beforeAll(async () => {
    slow = await slowCheckpoint()
  })
  afterAll(() => slow.remove())

  it('peaks at the weights and little more while loading', async () => {
    const weights = statSync(join(slow.folder, 'model.safetensors')).size
    expect(weights).toBeGreaterThan(70 * MiB)
    const grown = (await peakOf(slow.folder)) - (await peakOf(fixture))
    expect(grown).toBeLessThan(weights * 1.15 + 64 * MiB)
    expect(grown).toBeGreaterThan(weights * 0.9)
  })

  it('is estimated as it is then taken', async () => {
    const plan = await estimateMemory(fixture, { device: 'cpu' })
    await using model = await loadModel(fixture, { device: 'cpu' })
    const { weightBytes, cacheBytes, activationBytes } = model.info
    expect(plan).toMatchObject({ device: 'cpu', fits: true, weightBytes, cacheBytes, activationBytes })
    expect(plan.totalBytes).toBe(weightBytes + cacheBytes + activationBytes)
  })

  it('is given back by dispose', async () => {
    const script = `import { loadModel } from 'kvasir'
      const before = process.memoryUsage.rss()
      for (let i = 0; i < 6; i++) {
        const model = await loadModel(${JSON.stringify(slow.folder)})
        await model.complete([1, 2, 3], { maxTokens: 2 })
        await model.dispose()
      }
      console.log(process.memoryUsage.rss() - before)`
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { cwd: rootDir })
    expect(Number(stdout)).toBeLessThan(64 * MiB)
  })
})
