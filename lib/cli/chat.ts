import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { Command } from 'commander'
import type { ChatMessage, ChatPiece } from '../chat/index.js'
import type { ChatOptions, LanguageModel } from '../language-model.js'
import type { ModelOptions } from './model-options.js'
import { decimal, loadFrom, wholeNumber, withModelOptions } from './model-options.js'
import { exitCodes, interruptible } from './terminal.js'

interface Options extends ModelOptions {
  system?: string
  maxTokens: number
  temperature: number
  topP: number
  seed?: number
}

const help = `  Enter sends; a line that ends with \\ goes on, and so does everything between two lines of """.
  Ctrl-C stops an answer; Ctrl-D, or Ctrl-C twice, ends the program.
  /reset   forgets the conversation
  /exit    ends the program
`
const mostHistory = 500

export function chatCommand(): Command {
  return withModelOptions(new Command('chat').description('Talk with a model.'))
    .option('-s, --system <text>', 'how the model shall behave')
    .option('-n, --max-tokens <n>', 'tokens of an answer at most', wholeNumber, 1000)
    .option('-t, --temperature <t>', '0 takes the likeliest token each time', decimal, 0.7)
    .option('--top-p <p>', 'draw among the likeliest that reach this probability', decimal, 0.95)
    .option('--seed <n>', 'decides the draws (default: a random one)', wholeNumber)
    .action(async (options: Options) => {
      const model = await interruptible((signal) => loadFrom(options, signal))
      try {
        await new Conversation(model, options).run()
      } finally {
        await model.dispose()
      }
    })
}

/** Reads messages and prints answers, until the input ends. */
class Conversation {
  readonly #model: LanguageModel
  readonly #options: Options
  readonly #lines: LineReader
  #messages: ChatMessage[]

  constructor(model: LanguageModel, options: Options) {
    this.#model = model
    this.#options = options
    this.#lines = new LineReader()
    this.#messages = this.#opening()
  }

  async run(): Promise<void> {
    process.stdout.write(`${this.#model.info.deviceName}; /help tells what there is\n`)
    for (let text = await this.#lines.message(); text !== null; text = await this.#lines.message()) {
      const command = text.trim()
      if (command === '/exit') break
      if (command === '/help') process.stdout.write(help)
      else if (command === '/reset') this.#messages = this.#opening()
      else if (command !== '') await this.#answer(text)
    }
    this.#lines.close()
  }

  #opening(): ChatMessage[] {
    const { system } = this.#options
    return system === undefined ? [] : [{ role: 'system', content: system }]
  }

  async #answer(content: string): Promise<void> {
    const controller = new AbortController()
    const { maxTokens, temperature, topP, seed } = this.#options
    const options: ChatOptions = { maxTokens, temperature, topP, seed, signal: controller.signal }
    const asked = [...this.#messages, { role: 'user', content }]
    let text = ''
    this.#lines.whileBusy(() => controller.abort())
    try {
      for await (const piece of this.#model.chat(asked, options)) text += show(piece)
    } catch (error) {
      if (!controller.signal.aborted) process.stdout.write(`${(error as Error).message}`)
    } finally {
      this.#lines.whileBusy(null)
      process.stdout.write(controller.signal.aborted ? ' [stopped]\n' : '\n')
    }
    // What was said before it was stopped was said.
    if (text !== '') this.#messages = [...asked, { role: 'assistant', content: text }]
  }
}

const isColourful = process.stdout.isTTY && !process.env.NO_COLOR

/** Prints a piece; gives what of it is the answer's text. */
function show(piece: ChatPiece): string {
  if (piece.type === 'toolCall') {
    process.stdout.write(`[${piece.call.name}(${JSON.stringify(piece.call.arguments)})]`)
    return ''
  }
  const dim = piece.type === 'reasoning' && isColourful
  process.stdout.write(dim ? `\x1b[2m${piece.text}\x1b[22m` : piece.text)
  return piece.type === 'text' ? piece.text : ''
}

/** Messages of one or several lines, with a history that is kept. */
class LineReader {
  readonly #interface: Interface
  readonly #file = join(
    process.env.XDG_STATE_HOME || join(homedir(), '.local', 'state'),
    'kvasir',
    'chat-history',
  )
  readonly #lines: string[] = []
  #onLine: ((line: string | null) => void) | null = null
  #onInterrupt: (() => void) | null = null
  #closed = false
  #wasInterrupted = false

  constructor() {
    this.#interface = createInterface({
      input: process.stdin,
      output: process.stdout,
      terminal: process.stdin.isTTY && process.stdout.isTTY,
      history: readHistory(this.#file),
      historySize: mostHistory,
      removeHistoryDuplicates: true,
    })
    this.#interface.on('line', (line) => this.#take(line))
    this.#interface.on('close', () => {
      this.#closed = true
      this.#onLine?.(null)
    })
    this.#interface.on('SIGINT', () => this.#interrupt())
    this.#interface.on('history', (history: string[]) => keepHistory(this.#file, history))
  }

  /** The next message; null at the end of the input. */
  async message(): Promise<string | null> {
    let text = ''
    let isOpen = false
    for (let prompt = '> '; ; prompt = '. ') {
      const line = await this.#line(prompt)
      if (line === null) return text === '' ? null : text
      if (line.trim() === '"""') {
        if (isOpen) return text
        isOpen = true
      } else if (isOpen) text += `${line}\n`
      else if (line.endsWith('\\')) text += `${line.slice(0, -1)}\n`
      else return text + line
    }
  }

  /** What Ctrl-C does while an answer comes; null where none does. */
  whileBusy(onInterrupt: (() => void) | null): void {
    this.#onInterrupt = onInterrupt
  }

  close(): void {
    this.#interface.close()
  }

  #line(prompt: string): Promise<string | null> {
    const waiting = this.#lines.shift()
    if (waiting !== undefined) return Promise.resolve(waiting)
    if (this.#closed) return Promise.resolve(null)
    this.#interface.setPrompt(prompt)
    this.#interface.prompt()
    return new Promise((resolve) => {
      this.#onLine = resolve
    })
  }

  #take(line: string): void {
    this.#wasInterrupted = false
    const onLine = this.#onLine
    this.#onLine = null
    if (onLine) onLine(line)
    else this.#lines.push(line)
  }

  #interrupt(): void {
    if (this.#onInterrupt) {
      this.#onInterrupt()
      return
    }
    if (this.#wasInterrupted) process.exit(exitCodes.interrupted)
    this.#wasInterrupted = true
    process.stdout.write('\n(Ctrl-C again ends the program)\n')
    this.#interface.prompt()
  }
}

/** The last line first. */
function readHistory(file: string): string[] {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).filter((line: unknown) => typeof line === 'string')
  } catch {
    return []
  }
}

function keepHistory(file: string, history: readonly string[]): void {
  try {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, JSON.stringify(history.slice(0, mostHistory)), { mode: 0o600 })
  } catch {
    // It is a convenience.
  }
}
