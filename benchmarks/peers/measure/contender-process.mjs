import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { runnerOf } from '../contenders.mjs'

const longestPhaseMs = 600_000

/** One contender in a process of its own. */
export class ContenderProcess {
  #child
  #output = ''

  /** @param {URL} script what answers in it, `answerParent` with its phases */
  constructor(script = new URL('./process.mjs', import.meta.url)) {
    this.#child = fork(fileURLToPath(script), [], {
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    const keep = (text) => {
      this.#output = (this.#output + text).slice(-2000)
    }
    this.#child.stdout.on('data', keep)
    this.#child.stderr.on('data', keep)
  }

  /** `sequences`: how many texts it must be able to continue at once, one by default. */
  load(contender, { shape, threads, sequences }) {
    const runner = new URL(`../runners/${runnerOf(contender)}`, import.meta.url).href
    return this.ask('load', { runner, shape, type: contender.type, threads, sequences })
  }

  /** What a phase measured. Rejects when it threw, when the process ended, or when it takes too long. */
  ask(phase, options) {
    return new Promise((resolve, reject) => {
      const finish = (settle, value) => {
        clearTimeout(timer)
        this.#child.off('message', onMessage)
        this.#child.off('exit', onExit)
        settle(value)
      }
      const onMessage = ({ result, error }) =>
        error === undefined ? finish(resolve, result) : finish(reject, new Error(error))
      const onExit = (code, signal) => {
        const lastLine = this.#output.trim().split('\n').at(-1)
        const message = `its process ended with ${signal ?? code} in ${phase}`
        finish(reject, new Error(lastLine ? `${message}: ${lastLine}` : message))
      }
      const timer = setTimeout(() => finish(reject, new Error(`${phase} took too long`)), longestPhaseMs)
      this.#child.on('message', onMessage)
      this.#child.on('exit', onExit)
      this.#child.send({ phase, options })
    })
  }

  /** Ends it without ceremony: some contenders' clean-up can hang or crash. */
  async end() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await exited
  }
}
