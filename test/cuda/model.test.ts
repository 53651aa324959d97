import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { estimateMemory, type LanguageModel, type LoadOptions, loadModel } from 'kvasir'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { onCuda } from '../kernels/native-program.js'
import { rootDir } from '../shared.js'

const folder = join(rootDir, 'test', 'fixtures')
const llama = join(folder, 'llama')

interface Golden {
  ids: number[]
  logits: number[]
  contextLength?: number
}

/** Runs a script in a process of its own, where the emulated device has other settings. */
function runApart(script: string, env: Record<string, string>): string {
  const args = ['--input-type=module', '-e', script]
  return execFileSync(process.execPath, args, { cwd: rootDir, env: { ...process.env, ...env } }).toString()
}

describe.runIf(onCuda).each(readdirSync(folder))('fixture %s on a GPU, in 16 bits', (name) => {
  const golden = JSON.parse(readFileSync(join(folder, name, 'golden.json'), 'utf8')) as Golden
  const { contextLength } = golden
  let model: LanguageModel
  let ahead: LanguageModel

  beforeAll(async () => {
    model = await loadModel(join(folder, name), { device: 'cuda', lookahead: 1, contextLength })
    ahead = await loadModel(join(folder, name), {
      device: 'cuda',
      deviceIndex: 1,
      lookahead: 5,
      contextLength,
    })
  })
  afterAll(async () => {
    await model.dispose()
    await ahead.dispose()
  })

  it('computes in bf16 and says so', () => {
    expect(model.info).toMatchObject({ device: 'cuda', activations: 'bf16', isa: 'sm_80', deviceReason: '' })
    expect(ahead.info.isa).toBe('sm_90')
  })

  it('gives logits near the golden ones', async () => {
    const { data } = await model.logits(golden.ids)
    const error = Math.hypot(...golden.logits.map((x, i) => x - data[i]!))
    // What rounding weights and results to 8 bits costs: some hundredths.
    expect(error / Math.hypot(...golden.logits)).toBeLessThan(0.05)
  })

  it('gives the same tokens however far it runs ahead, and on every architecture', async () => {
    const prompt = golden.ids.slice(0, 7)
    for (const settings of [
      { maxTokens: 14, ignoreEos: true },
      { maxTokens: 14, ignoreEos: true, temperature: 1.3, seed: 5, topP: 0.9 },
      { maxTokens: 3, ignoreEos: true },
    ]) {
      const { ids } = await model.complete(prompt, settings)
      expect(ids).toHaveLength(settings.maxTokens)
      expect((await ahead.complete(prompt, settings)).ids).toEqual(ids)
    }
  })

  it('gives the same tokens when a prompt comes token by token', async () => {
    const prompt = golden.ids.slice(0, 6)
    const { ids } = await model.complete(prompt, { maxTokens: 8, ignoreEos: true })
    const again: number[] = []
    for (let i = 0; i < 8; i++) {
      const one = await model.complete([...prompt, ...again], { maxTokens: 1, ignoreEos: true })
      again.push(one.ids[0]!)
    }
    expect(again).toEqual(ids)
  })
})

describe.runIf(onCuda).each([
  ['llama', 'q8'],
  ['llama', 'q4'],
  ['gpt2', 'q4'],
] as const)('fixture %s on a GPU, in %s', (name, dtype) => {
  const golden = JSON.parse(readFileSync(join(folder, name, 'golden.json'), 'utf8')) as Golden

  it("gives logits near the CPU's, the same tokens on every architecture, and takes less memory", async () => {
    const load = (options: LoadOptions) => loadModel(join(folder, name), { dtype, ...options })
    await using cpu = await load({ device: 'cpu' })
    await using model = await load({ device: 'cuda', lookahead: 1 })
    await using ahead = await load({ device: 'cuda', deviceIndex: 1, lookahead: 5 })
    await using plain = await load({ device: 'cuda', dtype: 'bf16' })
    await using bytes = await load({ device: 'cuda', cacheDtype: 'q8' })
    expect(model.info).toMatchObject({ device: 'cuda', activations: 'bf16' })
    expect(bytes.info.cacheBytes).toBeLessThan(0.75 * model.info.cacheBytes)
    expect(model.info.weightBytes).toBeLessThan(0.75 * plain.info.weightBytes)
    const { data: expected } = await cpu.logits(golden.ids)
    const { data } = await model.logits(golden.ids)
    // The CPU rounds what it multiplies with to 8 bits in blocks, the GPU to bf16.
    for (const found of [data, (await bytes.logits(golden.ids)).data]) {
      const error = Math.hypot(...expected.map((x, i) => x - found[i]!))
      expect(error / Math.hypot(...expected)).toBeLessThan(0.05)
    }
    const prompt = golden.ids.slice(0, 7)
    const settings = { maxTokens: 14, ignoreEos: true }
    expect((await ahead.complete(prompt, settings)).ids).toEqual((await model.complete(prompt, settings)).ids)
  })
})

describe.runIf(onCuda)('choosing a device', () => {
  it('auto takes the GPU', async () => {
    await using model = await loadModel(llama)
    expect(model.info).toMatchObject({ device: 'cuda', deviceReason: '' })
  })

  it('auto falls back to the CPU and says why; cuda is an error', async () => {
    const missing = join(rootDir, 'build', 'emulated-missing.so')
    const script = `
      import { loadModel } from 'kvasir'
      const model = await loadModel('${llama}')
      console.log(JSON.stringify(model.info))
      await model.dispose()
      const error = await loadModel('${llama}', { device: 'cuda' }).catch((error) => error)
      console.log(JSON.stringify({ name: error.name, code: error.code, message: error.message }))`
    const [info, error] = runApart(script, { KVASIR_CUDA_MODULE: missing }).trim().split('\n')
    expect(JSON.parse(info!)).toMatchObject({ device: 'cpu' })
    expect(JSON.parse(info!).deviceReason).toMatch(/could not be opened/)
    expect(JSON.parse(error!)).toMatchObject({ name: 'DeviceError', code: 'ERR_DEVICE' })
    expect(JSON.parse(error!).message).toMatch(/could not be opened/)
  })

  it('a device without room is told before anything is loaded, with figures', async () => {
    const script = `
      import { estimateMemory, loadModel } from 'kvasir'
      const model = await loadModel('${llama}')
      console.log(JSON.stringify(model.info))
      await model.dispose()
      const error = await loadModel('${llama}', { device: 'cuda' }).catch((error) => error)
      console.log(JSON.stringify({ name: error.name, code: error.code, message: error.message }))
      console.log(JSON.stringify(await estimateMemory('${llama}', { device: 'cuda' })))`
    const [info, error, plan] = runApart(script, { KVASIR_EMULATED_MEMORY: '400000' }).trim().split('\n')
    expect(JSON.parse(info!)).toMatchObject({ device: 'cpu' })
    expect(JSON.parse(info!).deviceReason).toMatch(/are free on/)
    expect(JSON.parse(error!)).toMatchObject({ name: 'OutOfMemoryError', code: 'ERR_OUT_OF_MEMORY' })
    expect(JSON.parse(error!).message).toMatch(/MB are needed .* of weights.*are free on/)
    expect(JSON.parse(plan!)).toMatchObject({ device: 'cuda', fits: false })
  })

  it('a device that does not exist is an error', async () => {
    await expect(loadModel(llama, { device: 'cuda', deviceIndex: 7 })).rejects.toThrow(
      /2 devices, got number 7/,
    )
  })

  it('memory is estimated as it is then taken', async () => {
    const plan = await estimateMemory(llama, { device: 'cuda' })
    await using model = await loadModel(llama, { device: 'cuda' })
    expect(plan).toMatchObject({ device: 'cuda', fits: true })
    expect(plan.weightBytes).toBe(model.info.weightBytes)
    expect(plan.cacheBytes).toBe(model.info.cacheBytes)
    expect(plan.activationBytes).toBe(model.info.activationBytes)
    expect(plan.totalBytes).toBe(plan.weightBytes + plan.cacheBytes + plan.activationBytes)
  })

  it('the command lists it', () => {
    const text = execFileSync(process.execPath, ['dist/cli/main.js', 'devices'], { cwd: rootDir }).toString()
    expect(text).toMatch(/cuda {2}0: /)
    expect(text).toMatch(/compute capability 9\.0/)
  })
})
