import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export const commit = 'a'.repeat(40)

/** What goes wrong with a request for a file; asked before each answer. */
export type Trouble = (request: {
  path: string
  range: string | undefined
  count: number
}) =>
  | { cutAfter: number }
  | { status: number; retryAfter?: string }
  | { noRanges: true }
  | { extra: number }
  | { flipped: true }
  | { redirect: true }
  | { slow: number }
  | undefined

/** A server that plays the hub, with one model, `org/name`, at the commit `commit`. */
export class HubServer {
  readonly requests: { url: string; range: string | undefined; authorization: string | undefined }[] = []
  trouble: Trouble = () => undefined
  /** Answers to questions about the model, instead of what is right. */
  apiStatus: number | undefined
  token: string | undefined
  readonly #files: Map<string, Buffer>
  readonly #server: Server
  readonly #counts = new Map<string, number>()

  constructor(files: Record<string, Buffer>) {
    this.#files = new Map(Object.entries(files))
    this.#server = createServer((request, response) => this.#answer(request, response))
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #answer(request: IncomingMessage, response: ServerResponse): unknown {
    const { range, authorization } = request.headers
    const url = decodeURIComponent(request.url ?? '')
    this.requests.push({ url, range, authorization })
    if (url.startsWith('/cdn/')) return this.#send(url.slice('/cdn/'.length), range, response, true)
    if (this.token !== undefined && authorization !== `Bearer ${this.token}`) return fail(response, 401)
    if (url.startsWith('/api/models/org/name/')) return this.#api(url, response)
    const resolved = `/org/name/resolve/${commit}/`
    if (url.startsWith(resolved)) return this.#send(url.slice(resolved.length), range, response, false)
    return fail(response, 404)
  }

  #api(url: string, response: ServerResponse): unknown {
    if (this.apiStatus !== undefined) return fail(response, this.apiStatus)
    response.setHeader('content-type', 'application/json')
    if (url.includes('/revision/')) {
      if (!/\/revision\/(main|v1|a{40})\?/.test(url)) return fail(response, 404)
      return response.end(
        JSON.stringify({ _id: '1', id: 'org/name', sha: commit, lastModified: '2026-01-01' }),
      )
    }
    const entries = [...this.#files].map(([path, bytes]) => {
      const sha256 = createHash('sha256').update(bytes).digest('hex')
      const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')
      const isLarge = /\.(safetensors|gguf)$/.test(path)
      const lfs = { oid: sha256, size: bytes.length, pointerSize: 130 }
      return { type: 'file', path, size: bytes.length, oid, ...(isLarge ? { lfs } : {}) }
    })
    const tricks = ['../outside.json', '/absolute.json', 'a/../../b.json'].map((path) => ({
      ...entries[0],
      path,
    }))
    return response.end(JSON.stringify([...entries, ...tricks, { type: 'directory', path: 'onnx', size: 0 }]))
  }

  async #send(path: string, range: string | undefined, response: ServerResponse, redirected: boolean) {
    const bytes = this.#files.get(path)
    if (!bytes) return fail(response, 404)
    const count = this.#counts.get(path) ?? 0
    this.#counts.set(path, count + 1)
    const trouble = this.trouble({ path, range, count })
    if (trouble && 'status' in trouble) {
      if (trouble.retryAfter !== undefined) response.setHeader('retry-after', trouble.retryAfter)
      return fail(response, trouble.status)
    }
    if (trouble && 'redirect' in trouble && !redirected)
      return response.writeHead(302, { location: `/cdn/${path}` }).end()
    const from = range && !(trouble && 'noRanges' in trouble) ? Number(/^bytes=(\d+)-$/.exec(range)?.[1]) : 0
    let body = bytes.subarray(from)
    if (trouble && 'flipped' in trouble) body = Buffer.from(body).fill(7, 0, 1)
    if (trouble && 'extra' in trouble) body = Buffer.concat([body, Buffer.alloc(trouble.extra)])
    if (from > 0) {
      const contentRange = `bytes ${from}-${bytes.length - 1}/${bytes.length}`
      response.writeHead(206, { 'content-range': contentRange })
    }
    if (trouble && 'cutAfter' in trouble) {
      return response.write(body.subarray(0, trouble.cutAfter), () =>
        setTimeout(() => response.destroy(), 50),
      )
    }
    if (trouble && 'slow' in trouble) {
      for (let at = 0; at < body.length && !response.destroyed; at += trouble.slow) {
        response.write(body.subarray(at, at + trouble.slow))
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      return response.end()
    }
    return response.end(body)
  }
}

function fail(response: ServerResponse, status: number): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end('{"error":"no"}')
}
