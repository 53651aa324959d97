import { execFile } from 'node:child_process'
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { loadModel, type PullProgress, pull } from 'kvasir'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { fixture } from '../engine/models.js'
import { rootDir } from '../shared.js'
import { commit, HubServer } from './hub-server.js'

const run = promisify(execFile)
const names = ['config.json', 'model.safetensors']
const model = Object.fromEntries(names.map((name) => [name, readFileSync(join(fixture, name))]))
const weights = model['model.safetensors']!
const others = {
  'README.md': Buffer.from('# not needed'),
  'pytorch_model.bin': Buffer.alloc(1000),
  'onnx/model.onnx': Buffer.alloc(1000),
  'small.gguf': Buffer.from('GGUF'),
}

let hub: HubServer
let cache: string

beforeEach(async () => {
  hub = new HubServer({ ...model, ...others })
  cache = mkdtempSync(join(tmpdir(), 'kvasir-hub-'))
  vi.stubEnv('HF_ENDPOINT', await hub.listen())
  vi.stubEnv('HF_HUB_CACHE', cache)
  vi.stubEnv('HF_TOKEN', '')
  vi.stubEnv('HF_TOKEN_PATH', join(cache, 'no-token'))
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await hub.close()
  rmSync(cache, { recursive: true, force: true })
})

const snapshot = () => join(cache, 'models--org--name', 'snapshots', commit)
const filesAsked = () => hub.requests.filter(({ url }) => url.includes('/resolve/'))

describe('pull', () => {
  it('brings what loading needs and nothing else, into the usual layout', async () => {
    const path = await pull('org/name')
    expect(path).toBe(snapshot())
    expect(readdirSync(path).sort()).toEqual(names.toSorted())
    expect(lstatSync(join(path, 'model.safetensors')).isSymbolicLink()).toBe(true)
    expect(readFileSync(join(path, 'model.safetensors'))).toEqual(weights)
    expect(readFileSync(join(cache, 'models--org--name', 'refs', 'main'), 'utf8')).toBe(commit)
    expect(readdirSync(join(cache, 'models--org--name', 'blobs'))).toHaveLength(names.length)
    expect(existsSync(join(cache, '..', 'outside.json'))).toBe(false)
  })

  it('asks for no file twice, and for nothing where the commit is named', async () => {
    await pull('org/name')
    const asked = filesAsked().length
    await pull('org/name@v1')
    expect(filesAsked()).toHaveLength(asked)
    const all = hub.requests.length
    expect(await pull(`org/name@${commit}`)).toBe(snapshot())
    expect(hub.requests).toHaveLength(all)
  })

  it('goes on where a connection was cut', async () => {
    hub.trouble = ({ path, count }) =>
      path === 'model.safetensors' && count < 3 ? { cutAfter: 1000 } : undefined
    const path = await pull('org/name')
    expect(readFileSync(join(path, 'model.safetensors'))).toEqual(weights)
    const ranges = filesAsked().filter(({ url }) => url.endsWith('.safetensors'))
    expect(ranges.length).toBe(4)
    expect(ranges.slice(1).every(({ range }) => range !== undefined)).toBe(true)
  })

  it('goes on where another call ended, from the file of what had come', async () => {
    const controller = new AbortController()
    hub.trouble = ({ path }) => (path === 'model.safetensors' ? { slow: 4096 } : undefined)
    const stop = ({ loadedBytes }: PullProgress) => {
      if (loadedBytes > 16_384) controller.abort(new Error('enough'))
    }
    const first = pull('org/name', { signal: controller.signal, onProgress: stop })
    await expect(first).rejects.toThrow('enough')
    hub.trouble = () => undefined
    hub.requests.length = 0
    await pull('org/name')
    const [last] = filesAsked().filter(({ url }) => url.endsWith('.safetensors'))
    expect(Number(/bytes=(\d+)-/.exec(last!.range!)![1])).toBeGreaterThan(8000)
    expect(readFileSync(join(snapshot(), 'model.safetensors'))).toEqual(weights)
  })

  it('begins anew where the server knows no ranges', async () => {
    hub.trouble = ({ path, count }) => {
      if (path !== 'model.safetensors') return undefined
      return count === 0 ? { cutAfter: 1000 } : { noRanges: true }
    }
    const path = await pull('org/name')
    expect(readFileSync(join(path, 'model.safetensors'))).toEqual(weights)
  })

  it('follows redirects', async () => {
    hub.trouble = ({ path }) => (path === 'model.safetensors' ? { redirect: true } : undefined)
    const path = await pull('org/name')
    expect(readFileSync(join(path, 'model.safetensors'))).toEqual(weights)
  })

  it('tells progress in bytes and bytes a second', async () => {
    const seen: PullProgress[] = []
    await pull('org/name', { onProgress: (progress) => void seen.push(progress) })
    const total = names.reduce((sum, name) => sum + model[name]!.length, 0)
    expect(seen.at(-1)).toMatchObject({ loadedBytes: total, totalBytes: total })
    expect(seen.at(-1)!.bytesPerSecond).toBeGreaterThanOrEqual(0)
  })

  it('brings a GGUF file where one is named', async () => {
    const path = await pull('org/name', { file: 'small.gguf' })
    expect(path).toBe(join(snapshot(), 'small.gguf'))
    expect(readdirSync(snapshot())).toEqual(['small.gguf'])
    await expect(pull('org/name', { file: 'none.gguf' })).rejects.toMatchObject({
      name: 'HubError',
      code: 'ERR_HUB_NOT_FOUND',
      message: 'hub: org/name has no file none.gguf; it has small.gguf',
    })
  })

  it('sends the token to the hub', async () => {
    hub.token = 'secret'
    await expect(pull('org/name')).rejects.toMatchObject({ code: 'ERR_HUB_ACCESS' })
    vi.stubEnv('HF_TOKEN', 'secret')
    await pull('org/name')
    rmSync(cache, { recursive: true })
    vi.stubEnv('HF_TOKEN', '')
    const file = `${cache}-token`
    writeFileSync(file, 'secret\n')
    vi.stubEnv('HF_TOKEN_PATH', file)
    await pull('org/name')
    rmSync(file)
  })

  it.each<[string, number, string]>([
    ['unauthorised', 401, 'ERR_HUB_ACCESS'],
    ['forbidden', 403, 'ERR_HUB_ACCESS'],
    ['not there', 404, 'ERR_HUB_NOT_FOUND'],
    ['broken', 500, 'ERR_HUB_UNREACHABLE'],
  ])('says what is wrong: %s', async (_, status, code) => {
    hub.apiStatus = status
    await expect(pull('org/name')).rejects.toMatchObject({ name: 'HubError', code })
    hub.apiStatus = undefined
    if (status === 500) return
    hub.trouble = ({ path }) => (path === 'model.safetensors' ? { status } : undefined)
    await expect(pull('org/name')).rejects.toMatchObject({ name: 'HubError', code })
  })

  it('waits as long as the hub asks for, and gives up at last', async () => {
    hub.trouble = ({ count }) => (count < 2 ? { status: 429, retryAfter: '0' } : undefined)
    await pull('org/name')
    rmSync(cache, { recursive: true })
    hub.trouble = () => ({ status: 429, retryAfter: '0' })
    await expect(pull('org/name')).rejects.toMatchObject({ code: 'ERR_HUB_BUSY' })
  })

  it.each([
    ['longer', { extra: 10 }],
    ['other', { flipped: true }],
  ] as const)('keeps nothing that is %s than was promised', async (_, trouble) => {
    hub.trouble = ({ path }) => (path === 'model.safetensors' ? trouble : undefined)
    await expect(pull('org/name')).rejects.toMatchObject({ code: 'ERR_HUB_FILE' })
    expect(existsSync(join(snapshot(), 'model.safetensors'))).toBe(false)
    hub.trouble = () => undefined
    await pull('org/name')
    expect(readFileSync(join(snapshot(), 'model.safetensors'))).toEqual(weights)
  })

  it('offline takes what is there, and says what it looked for otherwise', async () => {
    vi.stubEnv('HF_HUB_OFFLINE', '1')
    await expect(pull('org/name')).rejects.toMatchObject({
      code: 'ERR_HUB_UNREACHABLE',
      message: expect.stringContaining(join(cache, 'models--org--name', 'refs')),
    })
    expect(hub.requests).toHaveLength(0)
    vi.stubEnv('HF_HUB_OFFLINE', '')
    await pull('org/name')
    vi.stubEnv('HF_HUB_OFFLINE', '1')
    expect(await pull('org/name')).toBe(snapshot())
    rmSync(join(snapshot(), 'model.safetensors'))
    await expect(pull('org/name')).rejects.toThrow(join(snapshot(), 'model.safetensors'))
    vi.stubEnv('HF_HUB_OFFLINE', '')
    await pull('org/name')
    vi.stubEnv('HF_ENDPOINT', 'http://127.0.0.1:9')
    expect(await pull('org/name')).toBe(snapshot())
    await expect(pull('org/other')).rejects.toThrow('http://127.0.0.1:9 does not answer')
  })

  it('refuses names that are none', async () => {
    for (const name of [
      '',
      'name',
      'a/b/c',
      '../x',
      'a/..',
      'a/b@',
      'a/b@c@d',
      'a/b@../x',
      'a b/c',
      '/etc/x',
    ])
      await expect(pull(name)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' })
  })

  it('brings one model to many callers at once', async () => {
    const paths = await Promise.all(Array.from({ length: 4 }, () => pull('org/name')))
    expect(new Set(paths).size).toBe(1)
    expect(readFileSync(join(paths[0]!, 'model.safetensors'))).toEqual(weights)
  })
})

describe('a model on the hub', () => {
  it('loads by its name', async () => {
    await using loaded = await loadModel('org/name')
    expect((await loaded.complete([1, 2, 3], { maxTokens: 3 })).ids).toHaveLength(3)
  })

  it('comes by the command line', async () => {
    const { stdout } = await run(process.execPath, ['dist/cli/main.js', 'pull', 'org/name'], {
      cwd: rootDir,
      env: process.env,
    })
    expect(stdout).toBe(`${snapshot()}\n`)
  })
})
