import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { shakespeare } from '../engine/models.js'
import { rootDir } from '../shared.js'

const hasTmux = (() => {
  try {
    execFileSync('tmux', ['-V'])
    return true
  } catch {
    return false
  }
})()

// A real terminal: what a person types, and what stands on the screen.
describe.skipIf(!hasTmux)('kvasir chat, in a terminal (tmux)', () => {
  let folder: string
  let socket: string
  const tmux = (...args: string[]) => execFileSync('tmux', ['-S', socket, ...args]).toString()
  const type = (...keys: string[]) => tmux('send-keys', '-t', 'chat', ...keys)
  const screen = () => tmux('capture-pane', '-p', '-t', 'chat')
  const shows = async (pattern: RegExp) => {
    for (let i = 0; i < 200; i++) {
      if (pattern.test(screen())) return
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    expect(screen()).toMatch(pattern)
  }

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'kvasir-terminal-'))
    socket = join(folder, 'tmux')
    cpSync(shakespeare, join(folder, 'model'), { recursive: true })
    const template =
      '{% for m in messages %}<{{ m.content }}>\n{% endfor %}{% if add_generation_prompt %}ROMEO:\n{% endif %}'
    writeFileSync(join(folder, 'model', 'chat_template.jinja'), template)
  })
  afterEach(() => {
    tmux('kill-server')
    rmSync(folder, { recursive: true, force: true })
  })

  const start = async (...args: string[]) => {
    const command = [
      process.execPath,
      join(rootDir, 'dist/cli/main.js'),
      'chat',
      '-m',
      join(folder, 'model'),
      ...args,
    ]
    const shell = `env XDG_STATE_HOME=${folder} NO_COLOR=1 ${command.map((word) => `'${word}'`).join(' ')}; echo ended $?`
    tmux('new-session', '-d', '-s', 'chat', '-x', '100', '-y', '40', `${shell}; sleep 30`)
    await shows(/^>$/m)
  }

  it('answers, takes several lines, remembers them, and ends with Ctrl-D', async () => {
    await start('--max-tokens', '12', '--seed', '1')
    type('Good morrow', 'Enter')
    await shows(/> Good morrow\n[\s\S]+\n>\n/m)
    type('one \\', 'Enter')
    await shows(/^\.$/m)
    type('two', 'Enter')
    await shows(/\. two\n[\s\S]+\n>\n/m)
    type('"""', 'Enter', 'a', 'Enter', 'b', 'Enter', '"""', 'Enter')
    await shows(/b\n.*"""\n[\s\S]+\n>\n/m)
    type('Up', 'Up')
    await shows(/> b$/m)
    type('C-u')
    type('C-d')
    await shows(/ended 0/)
    expect(JSON.parse(readFileSync(join(folder, 'kvasir', 'chat-history'), 'utf8'))).toContain('Good morrow')
  }, 60_000)

  it('stops the answer and not the program on Ctrl-C, and the program on two', async () => {
    await start('--max-tokens', '100000', '--temperature', '1')
    type('Speak on', 'Enter')
    type('C-c')
    await shows(/\[stopped\]\n>\n/m)
    type('/reset', 'Enter')
    type('C-c')
    await shows(/Ctrl-C again/)
    type('C-c')
    await shows(/ended 130/)
  }, 60_000)
})
