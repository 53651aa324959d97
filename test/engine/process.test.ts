import { spawn } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rootDir } from '../shared.js'
import { slowCheckpoint } from './models.js'

interface Ending {
  code: number | null
  signal: string | null
  stdout: string
  stderr: string
}

/** Runs a script as a process of its own. */
function run(
  script: string,
  { signalOn }: { signalOn?: [text: string, signal: NodeJS.Signals] } = {},
): Promise<Ending> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { cwd: rootDir })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (data) => {
      stdout += data
      if (signalOn && stdout.includes(signalOn[0])) child.kill(signalOn[1])
    })
    child.stderr.on('data', (data) => {
      stderr += data
    })
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}

describe('a process ends cleanly with native work under way', () => {
  let slow: { folder: string; remove(): void }
  let begin: string
  beforeAll(async () => {
    slow = await slowCheckpoint()
    begin = `import { loadModel } from 'kvasir'
      const model = await loadModel(${JSON.stringify(slow.folder)})
      const prompt = Array.from({ length: 1000 }, (_, i) => i % 500)
      const work = model.complete(prompt)
      const later = (body) => setTimeout(body, 60)
      console.log('working')`
  })
  afterAll(() => slow.remove())

  it('by process.exit', async () => {
    expect(await run(`${begin}\nlater(() => process.exit(7))`)).toMatchObject({
      code: 7,
      signal: null,
      stderr: '',
    })
  })

  // An answer that arrives while the environment goes down cannot be handed over; that must not abort. Steps are short
  // here, so that many exits meet one: without the swallowing of such errors, about one exit in thirty aborts.
  it('by process.exit at any moment of short steps', async () => {
    const script = (delay: number) => `import { loadModel } from 'kvasir'
      const model = await loadModel('test/fixtures/llama')
      const endless = async () => { for (;;) await model.complete([1, 2, 3], { maxTokens: 20 }) }
      endless()
      endless()
      setTimeout(() => process.exit(7), ${delay})`
    for (let i = 0; i < 24; ++i) {
      const delay = 20 + ((i * 7) % 24)
      expect(await run(script(delay)), `after ${delay} ms`).toEqual({
        code: 7,
        signal: null,
        stdout: '',
        stderr: '',
      })
    }
  })

  it('by an uncaught error', async () => {
    const { code, signal, stderr } = await run(`${begin}\nlater(() => { throw new Error('uncaught') })`)
    expect({ code, signal }).toEqual({ code: 1, signal: null })
    expect(stderr).toContain('uncaught')
    expect(stderr).not.toContain('terminate called')
  })

  it('by an unhandled rejection', async () => {
    const { code, signal, stderr } = await run(
      `${begin}\nlater(() => Promise.reject(new Error('unhandled')))`,
    )
    expect({ code, signal }).toEqual({ code: 1, signal: null })
    expect(stderr).toContain('unhandled')
  })

  it('by SIGINT and SIGTERM', async () => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      expect(await run(begin, { signalOn: ['working', signal] })).toMatchObject({ code: null, signal })
    }
  })

  it('by itself, when the last call is answered and nobody disposed', async () => {
    const script = `import { loadModel } from 'kvasir'
      const model = await loadModel('models/tiny-shakespeare')
      console.log((await model.complete('ROMEO:', { maxTokens: 3 })).ids.length)`
    expect(await run(script)).toEqual({ code: 0, signal: null, stdout: '3\n', stderr: '' })
  })

  it('while it loads', async () => {
    const script = `import { loadModel } from 'kvasir'
      loadModel(${JSON.stringify(slow.folder)}, { onProgress: () => process.exit(5) })`
    expect(await run(script)).toMatchObject({ code: 5, signal: null, stderr: '' })
  })

  it('goes on when a worker of the caller is terminated', async () => {
    const inner = `import { parentPort } from 'node:worker_threads'
      ${begin.replace("console.log('working')", "parentPort.postMessage('working')")}
      await work`
    const script = `import { Worker } from 'node:worker_threads'
      for (let i = 0; i < 3; i++) {
        const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(${JSON.stringify(inner)})), { execArgv: [] })
        await new Promise((resolve) => worker.once('message', resolve))
        await new Promise((resolve) => setTimeout(resolve, 40))
        await worker.terminate()
      }
      console.log('goes on')`
    const anchored = script.replaceAll(
      "'kvasir'",
      `'${new URL('../../dist/index.js', import.meta.url).href}'`,
    )
    expect(await run(anchored)).toEqual({ code: 0, signal: null, stdout: 'goes on\n', stderr: '' })
  })

  it('serves several threads of one process at once', async () => {
    const inner = `import { parentPort } from 'node:worker_threads'
      import { loadModel } from '${new URL('../../dist/index.js', import.meta.url).href}'
      const model = await loadModel('models/tiny-shakespeare')
      parentPort.postMessage((await model.complete('ROMEO:', { maxTokens: 20 })).ids.join())
      await model.dispose()`
    const script = `import { Worker } from 'node:worker_threads'
      const url = new URL('data:text/javascript,' + encodeURIComponent(${JSON.stringify(inner)}))
      const answers = await Promise.all([0, 1, 2].map(() => new Promise((resolve, reject) => {
        new Worker(url, { execArgv: [] }).on('message', resolve).on('error', reject)
      })))
      console.log(new Set(answers).size)`
    expect(await run(script)).toEqual({ code: 0, signal: null, stdout: '1\n', stderr: '' })
  })
})

describe('a process ends cleanly with many requests under way', () => {
  const url = new URL('../../dist/index.js', import.meta.url).href
  // Requests in every state: running, waiting for their turn or for blocks, resting for slow readers, kept.
  const begin = `const { loadModel } = await import('${url}')
    const small = await loadModel('models/tiny-shakespeare')
    const { cache } = await small.stats()
    await small.dispose()
    const model = await loadModel('models/tiny-shakespeare', { cacheBytes: cache.bytes / cache.blocks * 24 })
    const ids = (i) => Array.from({ length: 1 + i % 90 }, (_, j) => (i + j) % 1000)
    const sequence = await model.sequence(ids(50))
    const readers = Array.from({ length: 4 }, (_, i) => model.generate(ids(i), { n: 3, ignoreEos: true }))
    for (const reader of readers) reader.next().catch(() => {})
    const endless = async (call) => { for (let i = 0; ; i++) await call(i) }
    const calls = [
      (i) => model.complete(ids(i), { maxTokens: 40, priority: i % 3 }),
      (i) => model.embed([ids(i), ids(i + 1)]),
      (i) => model.nextTokens(ids(i)),
      (i) => model.logits(ids(i)),
      (i) => sequence.append([1]).then(() => sequence.truncate(40 + i % 9)),
      (i) => model.complete(ids(i), { timeoutMs: i % 5 }).catch((error) => {
        if (error.code !== 'ERR_DEADLINE') throw error
      }),
    ]
    const work = Array.from({ length: 60 }, (_, i) => endless(calls[i % calls.length]))
    for (const one of work) one.catch(() => {})`
  const inMs = (ms: number, body: string) => `${begin}\nsetTimeout(() => { ${body} }, ${ms})`

  it('by process.exit, at any moment', async () => {
    for (const delay of [0, 5, 21, 60, 150])
      expect(await run(inMs(delay, 'process.exit(7)')), `after ${delay} ms`).toEqual({
        code: 7,
        signal: null,
        stdout: '',
        stderr: '',
      })
  })

  it('by an uncaught error, and by SIGTERM', async () => {
    const { code, signal, stderr } = await run(inMs(80, "throw new Error('uncaught')"))
    expect({ code, signal }).toEqual({ code: 1, signal: null })
    expect(stderr).toContain('uncaught')
    const ended = await run(inMs(80, "console.log('working')"), { signalOn: ['working', 'SIGTERM'] })
    expect(ended).toMatchObject({ code: null, signal: 'SIGTERM' })
  })

  it('by dispose, after which nothing is left to wait for', async () => {
    const ending = await run(inMs(80, "model.dispose().then(() => console.log('disposed'))"))
    expect(ending).toEqual({ code: 0, signal: null, stdout: 'disposed\n', stderr: '' })
  })

  it('goes on when the thread that made them is terminated', async () => {
    const script = `import { Worker } from 'node:worker_threads'
      const inner = ${JSON.stringify(`import { parentPort } from 'node:worker_threads'
${begin}
parentPort.postMessage('working')`)}
      for (const delay of [0, 30, 120]) {
        const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(inner)), { execArgv: [] })
        await new Promise((resolve) => worker.once('message', resolve))
        await new Promise((resolve) => setTimeout(resolve, delay))
        await worker.terminate()
      }
      console.log('goes on')`
    expect(await run(script)).toEqual({ code: 0, signal: null, stdout: 'goes on\n', stderr: '' })
  })

  it('by itself, when a text rests for a reader that never comes back', async () => {
    const script = `import { loadModel } from 'kvasir'
      const model = await loadModel('models/tiny-shakespeare')
      const reader = model.generate('ROMEO:', { n: 4, ignoreEos: true })
      console.log((await reader.next()).value.choice)`
    expect(await run(script)).toEqual({ code: 0, signal: null, stdout: '0\n', stderr: '' })
  })
})
