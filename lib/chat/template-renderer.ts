import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { TemplateError } from '../errors.js'

export interface RenderRequest {
  id: number
  template: string
  variables: Record<string, unknown>
}
export type RenderReply = { id: number; text: string } | { id: number; error: string }

/** A template that takes longer is stopped, and so is one that wants more memory. */
const mostMs = 2000
const mostMegabytes = 128
const mostCharacters = 2 ** 24
/** The process ends when nothing was rendered for so long. */
const idleMs = 30_000

interface Waiting {
  timer: NodeJS.Timeout
  resolve(text: string): void
  reject(error: Error): void
}

/**
 * Renders chat templates in a process of their own, which is killed when it takes too long or too much memory: in a worker a
 * template such as `{{ range(1e8) }}` would take the whole process along.
 */
class TemplateRenderer {
  #child: ChildProcess | undefined
  #idle: NodeJS.Timeout | undefined
  #nextId = 1
  readonly #waiting = new Map<number, Waiting>()

  /** @throws {TemplateError} when the template is malformed, refuses the messages, or is stopped */
  render(template: string, variables: Record<string, unknown>): Promise<string> {
    clearTimeout(this.#idle)
    const child = this.#start()
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#kill(`it took more than ${mostMs / 1000} s`), mostMs)
      this.#waiting.set(id, { timer, resolve, reject })
      child.ref()
      child.channel?.ref()
      child.send({ id, template, variables } satisfies RenderRequest, (error) => {
        if (error) this.#fail(error.message)
      })
    })
  }

  #start(): ChildProcess {
    if (this.#child) return this.#child
    const script = fileURLToPath(new URL('./template-process.js', import.meta.url))
    const child = fork(script, {
      execArgv: [`--max-old-space-size=${mostMegabytes}`, '--max-semi-space-size=8'],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      env: { TZ: process.env.TZ },
    })
    child.on('message', (reply: RenderReply) => this.#settle(reply))
    child.on('error', (error) => this.#fail(error.message))
    child.on('exit', () => {
      if (this.#child === child) this.#fail(`it ran out of memory (${mostMegabytes} MB) or was ended`)
    })
    this.#child = child
    return child
  }

  #settle(reply: RenderReply): void {
    const waiting = this.#waiting.get(reply.id)
    if (!waiting) return
    this.#waiting.delete(reply.id)
    clearTimeout(waiting.timer)
    if ('error' in reply) waiting.reject(new TemplateError(`chat template: ${reply.error}`))
    else if (reply.text.length <= mostCharacters) waiting.resolve(reply.text)
    else
      waiting.reject(new TemplateError(`chat template: its text has more than ${mostCharacters} characters`))
    if (this.#waiting.size === 0) this.#rest()
  }

  /** Does not keep the process alive, and ends after a while. */
  #rest(): void {
    this.#child?.unref()
    this.#child?.channel?.unref()
    this.#idle = setTimeout(() => this.#stop(), idleMs).unref()
  }

  #kill(reason: string): void {
    this.#stop()
    this.#fail(reason)
  }

  #stop(): void {
    const child = this.#child
    this.#child = undefined
    child?.kill('SIGKILL')
  }

  /** Everything that was under way. */
  #fail(reason: string): void {
    this.#stop()
    const all = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const { timer, reject } of all) {
      clearTimeout(timer)
      reject(new TemplateError(`chat template: it was stopped, since ${reason}`))
    }
  }
}

/** The one of this thread. */
export const templates = new TemplateRenderer()
