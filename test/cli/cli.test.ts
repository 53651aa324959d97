import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { slowCheckpoint } from '../engine/models.js'
import { rootDir } from '../shared.js'

const main = join(rootDir, 'dist', 'cli', 'main.js')
const fixture = join(rootDir, 'test', 'fixtures', 'llama')

interface Ending {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs the command; sends a signal once it has printed something, where one is given. */
function kvasir(args: string[], signal?: NodeJS.Signals): Promise<Ending> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [main, ...args], { cwd: rootDir })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (data) => {
      stdout += data
      if (signal) child.kill(signal)
    })
    child.stderr.on('data', (data) => {
      stderr += data
    })
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
}

describe('kvasir', () => {
  it('shows its commands, and each its options', async () => {
    const { code, stdout } = await kvasir(['--help'])
    expect(code).toBe(0)
    for (const command of ['generate', 'next', 'inspect', 'devices']) {
      expect(stdout).toContain(command)
      const help = await kvasir([command, '--help'])
      expect(help).toMatchObject({ code: 0, stderr: '' })
      expect(help.stdout).toContain('--json')
    }
    expect((await kvasir(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })

  it('exits with 2 when used wrongly', async () => {
    for (const args of [
      [],
      ['sing'],
      ['generate', '--no-such-option'],
      ['generate', '--max-tokens', 'many'],
      ['generate', '--dtype', 'f8'],
      ['generate', '--prompt', 'a', '--ids', '1'],
      ['generate', '--model', fixture],
      ['next', '--ids', '1,x'],
    ]) {
      const { code, stdout, stderr } = await kvasir(args)
      expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: '' })
      expect(stderr).not.toBe('')
      expect(stderr).not.toContain('    at ')
    }
  })

  it('exits with 1 and one line when something fails', async () => {
    for (const args of [
      ['generate', '--model', 'no/such/folder', '--prompt', 'a'],
      ['inspect', 'no/such/folder'],
      ['generate', '--model', fixture, '--prompt', 'text without a tokenizer'],
      ['generate', '--model', fixture, '--ids', '70000'],
      ['generate', '--temperature', '-1'],
    ]) {
      const { code, stderr } = await kvasir(args)
      expect({ args, code }).toEqual({ args, code: 1 })
      expect(stderr).toMatch(/^kvasir: [^\n]+ \(ERR_[A-Z_]+\)\n$/)
    }
  })

  it('continues a prompt, the same with the same seed', async () => {
    const args = ['generate', '--prompt', 'ROMEO:', '--max-tokens', '12', '--seed', '4']
    const first = await kvasir(args)
    expect(first).toMatchObject({ code: 0, stderr: '' })
    expect(first.stdout).toMatch(/^ROMEO:[\s\S]{12,}\n$/)
    expect(await kvasir(args)).toEqual(first)
    const { stdout } = await kvasir([...args, '--json'])
    const result = JSON.parse(stdout)
    expect(`ROMEO:${result.text}\n`).toBe(first.stdout)
    expect(result).toMatchObject({
      prompt: 'ROMEO:',
      finishReason: 'length',
      usage: { completionTokens: 12 },
    })
    expect(result.ids).toHaveLength(12)
  })

  it('continues ids where there is no tokenizer', async () => {
    const { code, stdout } = await kvasir([
      'generate',
      '-m',
      fixture,
      '--ids',
      '1, 2,3',
      '-n',
      '4',
      '-t',
      '0',
    ])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^1,2,3(,\d+){4}\n$/)
  })

  it('draws next tokens as bars', async () => {
    const { code, stdout } = await kvasir(['next', '--prompt', 'ROME', '--top', '4'])
    expect(code).toBe(0)
    const lines = stdout.trimEnd().split('\n')
    expect(lines).toHaveLength(4)
    for (const line of lines) expect(line).toMatch(/^\S+ +\d+\.\d\d % {2}[█▏▎▍▌▋▊▉]*$/)
    expect(lines[0]).toContain('█'.repeat(32))
    const json = JSON.parse((await kvasir(['next', '--prompt', 'ROME', '--top', '4', '--json'])).stdout)
    expect(json).toHaveLength(4)
    expect(lines[0]).toContain(`${(100 * json[0].probability).toFixed(2)} %`)
  })

  it('inspects a model: summary, graph, picture, JSON', async () => {
    expect((await kvasir(['inspect', fixture])).stdout).toMatch(/family +llama/)
    const { stdout } = await kvasir(['inspect', fixture, '--graph'])
    expect(stdout).toMatch(/^recorded\n/)
    expect(stdout).toContain('\nfused\n')
    expect(stdout).toContain('linear q|k|v')
    expect(stdout).toContain('kv-append')
    expect((await kvasir(['inspect', fixture, '--dot'])).stdout).toMatch(/^digraph kvasir \{[\s\S]*\}\n$/)
    const json = JSON.parse((await kvasir(['inspect', fixture, '--graph', '--json'])).stdout)
    expect(json.modelType).toBe('llama')
    expect(json.recorded.nodes).toHaveLength(json.recordedNodes)
    expect(json.fusedNodes).toBeLessThan(json.recordedNodes)
  })

  it('shows devices', async () => {
    expect((await kvasir(['devices'])).stdout).toMatch(/^cpu {3}/)
    const [cpu] = JSON.parse((await kvasir(['devices', '--json'])).stdout)
    expect(cpu.device).toBe('cpu')
    expect(cpu.isas).toContain('baseline')
  })

  it('exits with 130 on Ctrl-C', async () => {
    const slow = await slowCheckpoint()
    const ids = Array.from({ length: 900 }, (_, i) => i % 500).join()
    const { code, stderr } = await kvasir(['generate', '-m', slow.folder, '--ids', ids], 'SIGINT')
    slow.remove()
    expect({ code, stderr }).toEqual({ code: 130, stderr: '' })
  })

  it('is content when its reader leaves', async () => {
    const child = spawn('sh', [
      '-c',
      `"${process.execPath}" "${main}" inspect "${fixture}" --graph --all | head -n 1`,
    ])
    let stderr = ''
    child.stderr.on('data', (data) => {
      stderr += data
    })
    expect(await new Promise((resolve) => child.on('close', resolve))).toBe(0)
    expect(stderr).toBe('')
  })
})
