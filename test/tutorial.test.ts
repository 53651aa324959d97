import { execFile } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { familiesDocument } from '../scripts/families-table.mjs'
import { writeRandomCheckpoint } from '../scripts/random-checkpoint.mjs'
import { rootDir } from './shared.js'
import { compileSnippets, snippetsOf } from './snippets.js'

const run = promisify(execFile)
const read = (name: string) => readFileSync(join(rootDir, 'docs', name), 'utf8')
const tutorial = read('new-architecture.md')
const [code] = snippetsOf(tutorial) as [string]
const config = JSON.parse(/```json\n([\s\S]*?)```/.exec(tutorial)![1]!)

describe('the tutorial of a new architecture', () => {
  let folder: string

  beforeAll(async () => {
    folder = await compileSnippets([code])
    const parameters = parametersOf(config.vocab_size, config.width, config.layers)
    writeRandomCheckpoint({ folder: join(folder, 'sleipnir-checkpoint'), config, parameters })
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('takes under sixty lines', () => {
    expect(code.trim().split('\n').length).toBeLessThan(60)
  })

  it('loads its weights and generates', async () => {
    const { stdout, stderr } = await run(process.execPath, [join('out', 'snippet-0.js')], { cwd: folder })
    const ids = stdout.match(/\d+/g)!.map(Number)
    expect(ids).toHaveLength(12)
    expect(ids.every((id) => id < config.vocab_size)).toBe(true)
    expect(stderr).toBe('')
  })
})

/** What the tutorial says that the checkpoint holds. */
function parametersOf(V: number, C: number, layers: number) {
  const linear = (path: string, outputs: number, inputs: number) => [
    { path: `${path}.weight`, shape: [outputs, inputs] },
    { path: `${path}.bias`, shape: [outputs] },
  ]
  const norm = (path: string) => ['weight', 'bias'].map((name) => ({ path: `${path}.${name}`, shape: [C] }))
  const block = (path: string) => [
    ...norm(`${path}.norm`),
    ...['q_proj', 'k_proj', 'v_proj', 'o_proj'].flatMap((name) => linear(`${path}.attn.${name}`, C, C)),
    ...linear(`${path}.ff.up`, 4 * C, C),
    ...linear(`${path}.ff.down`, C, 4 * C),
  ]
  const blocks = Array.from({ length: layers }, (_, i) => block(`blocks.${i}`)).flat()
  return [{ path: 'embed.weight', shape: [V, C] }, ...blocks, ...norm('norm')]
}

describe('the table of families', () => {
  it('is of this tree', () => {
    expect(read('families.md')).toBe(familiesDocument())
  })
})
