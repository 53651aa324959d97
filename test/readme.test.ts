import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { writeRandomCheckpoint } from '../scripts/random-checkpoint.mjs'
import { rootDir } from './shared.js'
import { compileSnippets, snippetsOf } from './snippets.js'

const run = promisify(execFile)
const readme = readFileSync(join(rootDir, 'README.md'), 'utf8')
const snippets = snippetsOf(readme)
const commands = [...readme.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, text]) => text!.trim().split('\n'))

/** A cache in which the model `org/name` lies. */
function makeHubCache(folder: string): void {
  const commit = 'a'.repeat(40)
  const model = join(folder, 'models--org--name')
  mkdirSync(join(model, 'refs'), { recursive: true })
  mkdirSync(join(model, 'snapshots'))
  writeFileSync(join(model, 'refs', 'main'), commit)
  symlinkSync(join(rootDir, 'models', 'tiny-shakespeare'), join(model, 'snapshots', commit))
}

// What a reader copies must compile and run: in a folder of its own where `kvasir` is installed.
describe('the README', () => {
  let folder: string

  beforeAll(async () => {
    folder = await compileSnippets(snippets)
    makeOwnCheckpoint(join(folder, 'my-checkpoint'))
    makeHubCache(join(folder, 'hub'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('begins with nine lines and shows a model in under thirty', () => {
    const lines = (code: string) =>
      code.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('import'))
    expect(snippets[0]!.trim().split('\n').length).toBeLessThanOrEqual(10)
    const own = snippets.find((code) => code.includes('registerModel'))!
    const model = own.slice(own.indexOf('class'), own.indexOf('registerModel('))
    expect(lines(model).length).toBeLessThan(30)
  })

  it.each(snippets.map((code, i) => [i, code]))('runs snippet %i', async (i) => {
    const { stdout, stderr } = await run(process.execPath, [join('out', `snippet-${i}.js`)], {
      cwd: folder,
      env: { ...process.env, HF_HUB_CACHE: join(folder, 'hub'), HF_HUB_OFFLINE: '1' },
    })
    expect(stdout.length).toBeGreaterThan(10)
    expect(stderr).toBe('')
  })

  it.each(commands.filter((command) => command.startsWith('npx kvasir ')))('runs `%s`', async (command) => {
    const main = join(rootDir, 'dist', 'cli', 'main.js')
    const { stdout } = await run(
      'sh',
      ['-c', command.replace('npx kvasir', `"${process.execPath}" "${main}"`)],
      { cwd: folder },
    )
    expect(stdout.length).toBeGreaterThan(10)
  })

  it('names scripts that exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(rootDir, 'package.json'), 'utf8'))
    for (const name of ['start', 'test', 'install', 'bench']) expect(scripts).toHaveProperty(name)
    expect(commands).toContain('npm install && npm start')
    expect(commands).toContain('npm install && npm test')
  })
})

/** Weights for the architecture that the README shows. */
function makeOwnCheckpoint(path: string): void {
  const config = {
    model_type: 'side_by_side',
    vocab: 50,
    width: 32,
    hidden: 64,
    heads: 4,
    layers: 2,
    context: 64,
  }
  const square = [32, 32]
  const block = (i: number) => [
    { path: `blocks.${i}.norm.weight`, shape: [32] },
    ...['q_proj', 'k_proj', 'v_proj', 'o_proj'].map((name) => ({
      path: `blocks.${i}.attn.${name}.weight`,
      shape: square,
    })),
    { path: `blocks.${i}.ff.gate_proj.weight`, shape: [64, 32] },
    { path: `blocks.${i}.ff.up_proj.weight`, shape: [64, 32] },
    { path: `blocks.${i}.ff.down_proj.weight`, shape: [32, 64] },
  ]
  const parameters = [
    { path: 'embed.weight', shape: [50, 32] },
    ...block(0),
    ...block(1),
    { path: 'norm.weight', shape: [32] },
  ]
  writeRandomCheckpoint({ folder: path, config, parameters })
}
