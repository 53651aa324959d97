import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { HubError } from '../errors.js'
import { withFileLock } from './file-lock.js'
import { exists, sizeOf } from './hub-cache.js'
import type { HubFile } from './hub-files.js'

export interface DownloadOptions {
  url: string
  token: string | undefined
  signal: AbortSignal | undefined
  /** Called with the bytes that came, negative where some are to come again. */
  onBytes(bytes: number): void
}

/** Connections that were cut are tried again so often in a row, without a byte in between. */
const mostFailures = 5
const firstPauseMs = 250
/** A body that stands still so long is cut. */
const stallMs = 30_000

/**
 * Downloads a file to `path`, going on where an earlier try was cut: what is there stays as `path.incomplete`.
 *
 * @throws {HubError} when the hub refuses, cannot be reached, or what came is not what was promised
 */
export async function download(file: HubFile, path: string, options: DownloadOptions): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await withFileLock(`${path}.lock`, options.signal, async () => {
    if (await exists(path)) options.onBytes(file.size)
    else await fetchAll(file, path, options)
  })
}

async function fetchAll(file: HubFile, path: string, options: DownloadOptions): Promise<void> {
  const incomplete = `${path}.incomplete`
  const kept = await sizeOf(incomplete)
  if (kept > file.size) await unlink(incomplete)
  else options.onBytes(kept)
  for (let failures = 0; (await sizeOf(incomplete)) < file.size || file.size === 0; ) {
    const before = await sizeOf(incomplete)
    try {
      await fetchRest(file, incomplete, before, options)
      if (file.size === 0) break
    } catch (error) {
      options.signal?.throwIfAborted()
      if (error instanceof HubError && error.code !== 'ERR_HUB_BUSY') throw error
      failures = (await sizeOf(incomplete)) > before ? 1 : failures + 1
      if (failures >= mostFailures) throw unreachable(file, error)
      await sleep(pauseOf(error) ?? firstPauseMs * 2 ** (failures - 1), undefined, { signal: options.signal })
    }
  }
  await verify(file, incomplete)
  await rename(incomplete, path)
}

/** Asks for what is missing and appends it. */
async function fetchRest(file: HubFile, path: string, from: number, options: DownloadOptions): Promise<void> {
  const stalled = new AbortController()
  const signal = options.signal ? AbortSignal.any([options.signal, stalled.signal]) : stalled.signal
  const watch = setTimeout(() => stalled.abort(new Error(`nothing came for ${stallMs / 1000} s`)), stallMs)
  try {
    const headers = new Headers(options.token ? { Authorization: `Bearer ${options.token}` } : {})
    if (from > 0) headers.set('Range', `bytes=${from}-`)
    const response = await fetch(options.url, { headers, signal })
    if (!response.ok) throw await refusal(response, file.path)
    // Who knows no ranges begins anew.
    const start = response.status === 206 ? from : 0
    if (start !== from) options.onBytes(-from)
    await append(response, path, start, file, (bytes) => {
      watch.refresh()
      options.onBytes(bytes)
    })
  } finally {
    clearTimeout(watch)
  }
}

async function append(
  response: Response,
  path: string,
  start: number,
  file: HubFile,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const handle = await open(path, start > 0 ? 'r+' : 'w')
  try {
    let at = start
    for await (const piece of response.body ?? []) {
      if (at + piece.length > file.size) throw wrong(file, `${file.size} bytes`, 'more')
      await handle.write(piece, 0, piece.length, at)
      at += piece.length
      onBytes(piece.length)
    }
  } finally {
    await handle.close()
  }
}

/** Something else than was promised is not kept. */
async function verify(file: HubFile, path: string): Promise<void> {
  if (file.sha256 === undefined) return
  const hash = createHash('sha256')
  for await (const piece of createReadStream(path)) hash.update(piece)
  const found = hash.digest('hex')
  if (found === file.sha256) return
  await unlink(path)
  throw wrong(file, `the SHA-256 ${file.sha256}`, found)
}

function wrong(file: HubFile, expected: string, found: string): HubError {
  return new HubError('ERR_HUB_FILE', `hub: ${file.path} must have ${expected}, got ${found}`)
}

function unreachable(file: HubFile, cause: unknown): HubError {
  if (cause instanceof HubError) return cause
  const reason = cause instanceof Error ? (cause.cause as Error)?.message || cause.message : String(cause)
  return new HubError('ERR_HUB_UNREACHABLE', `hub: ${file.path} was cut off again and again (${reason})`, {
    cause,
  })
}

/** The error that a refused request is. */
export async function refusal(response: Response, what: string): Promise<HubError> {
  await response.body?.cancel()
  return statusError(response.status, what, response.headers.get('retry-after'))
}

export function statusError(status: number, what: string, retryAfter: string | null = null): HubError {
  if (status === 401 || status === 403) {
    return new HubError(
      'ERR_HUB_ACCESS',
      `hub: ${what} may not be read (${status}); set HF_TOKEN to a token that may, and accept the model's terms if it has some`,
    )
  }
  if (status === 404) return new HubError('ERR_HUB_NOT_FOUND', `hub: ${what} is not there (404)`)
  if (status === 429) return new BusyError(`hub: ${what}: too many requests (429)`, retryAfter)
  return new HubError('ERR_HUB_UNREACHABLE', `hub: ${what}: the hub answered with ${status}`)
}

/** The hub asks to wait. */
class BusyError extends HubError {
  readonly pauseMs: number

  constructor(message: string, retryAfter: string | null) {
    super('ERR_HUB_BUSY', message)
    this.pauseMs = pauseFor(retryAfter)
    this.name = 'HubError'
  }
}

/** Milliseconds to wait, as a header says, a minute at most. */
export function pauseFor(retryAfter: string | null): number {
  const seconds = retryAfter === null ? Number.NaN : Number(retryAfter)
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 60) * 1000 : 2000
}

function pauseOf(error: unknown): number | undefined {
  return error instanceof BusyError ? error.pauseMs : undefined
}
