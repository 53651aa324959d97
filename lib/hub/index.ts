import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { HubError } from '../errors.js'
import { download, pauseFor, statusError } from './download.js'
import { accessToken, CachedModel, exists } from './hub-cache.js'
import type { HubFile } from './hub-files.js'
import { isSafePath, neededFiles } from './hub-files.js'
import type { HubName } from './hub-name.js'
import { parseHubName } from './hub-name.js'

export { isHubName } from './hub-name.js'

export interface PullOptions {
  /** A GGUF file of the model, to have that instead of safetensors. */
  file?: string | undefined
  /** Called while files come, at most every 50 ms and at the end. */
  onProgress?: ((progress: PullProgress) => void) | undefined
  signal?: AbortSignal | undefined
}

export interface PullProgress {
  loadedBytes: number
  totalBytes: number
  /** Over the last seconds. */
  bytesPerSecond: number
}

/** Files that come at the same time. */
const atOnce = 4
/** Questions that the hub asks to put later are put so often. */
const mostTries = 4

/**
 * Makes sure that what a model on the hub needs is in the usual cache folder, and gives the path to load: the folder of its
 * commit, or the GGUF file in it. Nothing is asked of the hub where a commit is named and all is there.
 *
 * The hub is that of `HF_ENDPOINT`, or huggingface.co; with `HF_HUB_OFFLINE=1` only what is in the cache is used.
 *
 * @throws {HubError} when it cannot be had, saying why, and offline which files were looked for and where
 */
export async function pull(name: string, options: PullOptions = {}, where = 'pull'): Promise<string> {
  const hubName = parseHubName(where, name)
  const cached = new CachedModel(hubName)
  const isPinned = /^[0-9a-f]{40}$/.test(hubName.revision)
  if (isOffline() || isPinned) {
    const found = await findCached(cached, options.file)
    if (found.path !== undefined) return found.path
    if (isOffline()) throw notCached(name, found.looked, 'HF_HUB_OFFLINE is set')
  }
  try {
    return await pullOnline(hubName, cached, options)
  } catch (error) {
    if (!(error instanceof HubError) || error.code !== 'ERR_HUB_UNREACHABLE') throw error
    // What was there before is better than nothing.
    const { path, looked } = await findCached(cached, options.file)
    if (path !== undefined) return path
    throw notCached(name, looked, error.message, error)
  }
}

function isOffline(): boolean {
  return ['1', 'true', 'yes', 'on'].includes((process.env.HF_HUB_OFFLINE ?? '').toLowerCase())
}

/** Where a model lies, if all of it was there once: `refs` and links are made when everything has come. */
async function findCached(
  cached: CachedModel,
  file: string | undefined,
): Promise<{ path: string | undefined; looked: string[] }> {
  const commit = await cached.commit()
  if (commit === undefined) return { path: undefined, looked: [join(cached.folder, 'refs')] }
  const folder = cached.snapshotPath(commit)
  const needed =
    file === undefined ? [['config.json'], ['model.safetensors', 'model.safetensors.index.json']] : [[file]]
  for (const names of needed) {
    const paths = names.map((name) => join(folder, name))
    const there = await Promise.all(paths.map(exists))
    if (!there.includes(true)) return { path: undefined, looked: paths }
  }
  return { path: file === undefined ? folder : join(folder, file), looked: [] }
}

function notCached(name: string, looked: string[], reason: string, cause?: unknown): HubError {
  return new HubError(
    'ERR_HUB_UNREACHABLE',
    `hub: ${name} is not in the cache, and the hub cannot be asked (${reason}); looked for ${looked.join(' or ')}`,
    cause === undefined ? undefined : { cause },
  )
}

async function pullOnline(name: HubName, cached: CachedModel, options: PullOptions): Promise<string> {
  const token = await accessToken()
  const { commit, files } = await listModel(name, token, options.signal)
  const needed = neededFiles(name.repo, files, options.file)
  const missing: HubFile[] = []
  for (const file of needed) if (!(await exists(cached.blobPath(file.etag)))) missing.push(file)
  await downloadAll(name, commit, missing, { cached, token, options })
  for (const file of needed) await cached.link(commit, file.path, file.etag)
  await cached.noteCommit(commit)
  const folder = cached.snapshotPath(commit)
  return options.file === undefined ? folder : join(folder, options.file)
}

/** The commit that the revision is at, and its files. */
async function listModel(
  { repo, revision }: HubName,
  token: string | undefined,
  signal: AbortSignal | undefined,
): Promise<{ commit: string; files: HubFile[] }> {
  const hub = await import('@huggingface/hub')
  // The token goes past the package, which takes only some.
  const request: typeof fetch = (input, init) => {
    const headers = new Headers(init?.headers)
    if (token) headers.set('Authorization', `Bearer ${token}`)
    return patientFetch(input, { ...init, headers, signal: signal ?? null })
  }
  const common = { hubUrl: endpoint(), fetch: request }
  try {
    const { sha } = await hub.modelInfo({ name: repo, revision, additionalFields: ['sha'], ...common })
    if (!/^[0-9a-f]{40}$/.test(sha))
      throw new HubError('ERR_HUB_FILE', `hub: ${repo}: its commit must be 40 hexadecimal digits, got ${sha}`)
    const files: HubFile[] = []
    for await (const entry of hub.listFiles({ repo, revision: sha, recursive: true, ...common })) {
      if (entry.type !== 'file' || !isSafePath(entry.path)) continue
      const etag = entry.lfs?.oid ?? entry.oid ?? ''
      if (!/^[0-9a-f]{40}([0-9a-f]{24})?$/.test(etag)) continue
      files.push({ path: entry.path, size: entry.lfs?.size ?? entry.size, etag, sha256: entry.lfs?.oid })
    }
    return { commit: sha, files }
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof HubError) throw error
    if (error instanceof hub.HubApiError) throw statusError(error.statusCode, `${repo}@${revision}`)
    const reason = error instanceof Error ? (error.cause as Error)?.message || error.message : String(error)
    throw new HubError('ERR_HUB_UNREACHABLE', `hub: ${endpoint()} does not answer (${reason})`, {
      cause: error,
    })
  }
}

/** Waits as long as the hub asks for where it has too much to do. */
async function patientFetch(input: string | URL | Request, init: RequestInit | undefined): Promise<Response> {
  for (let tries = 1; ; tries++) {
    const response = await fetch(input, init)
    if (response.status !== 429 || tries === mostTries) return response
    const pauseMs = pauseFor(response.headers.get('retry-after'))
    await response.body?.cancel()
    await sleep(pauseMs, undefined, init?.signal ? { signal: init.signal } : undefined)
  }
}

function endpoint(): string {
  return (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '')
}

async function downloadAll(
  { repo }: HubName,
  commit: string,
  files: readonly HubFile[],
  { cached, token, options }: { cached: CachedModel; token: string | undefined; options: PullOptions },
): Promise<void> {
  const progress = new Progress(
    files.reduce((sum, { size }) => sum + size, 0),
    options.onProgress,
  )
  const queue = [...files].sort((a, b) => b.size - a.size)
  const failed = new AbortController()
  const signal = options.signal ? AbortSignal.any([options.signal, failed.signal]) : failed.signal
  const work = async () => {
    for (let file = queue.shift(); file; file = queue.shift()) {
      const url = `${endpoint()}/${repo}/resolve/${commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`
      const onBytes = (bytes: number) => progress.add(bytes)
      await download(file, cached.blobPath(file.etag), { url, token, signal, onBytes })
    }
  }
  try {
    await Promise.all(Array.from({ length: atOnce }, work))
  } catch (error) {
    failed.abort(error)
    throw error
  }
  progress.end()
}

/** Tells how much has come, and how fast. */
class Progress {
  readonly #total: number
  readonly #tell: PullOptions['onProgress']
  #loaded = 0
  #toldAt = 0
  /** Bytes at some moments of the last seconds. */
  #moments: { at: number; loaded: number }[] = []

  constructor(total: number, tell: PullOptions['onProgress']) {
    this.#total = total
    this.#tell = tell
  }

  add(bytes: number): void {
    this.#loaded += bytes
    const now = performance.now()
    if (now - this.#toldAt >= 50) this.#report(now)
  }

  end(): void {
    this.#report(performance.now())
  }

  #report(now: number): void {
    this.#toldAt = now
    this.#moments.push({ at: now, loaded: this.#loaded })
    while (this.#moments.length > 2 && now - this.#moments[0]!.at > 5000) this.#moments.shift()
    const { at, loaded } = this.#moments[0]!
    const bytesPerSecond = now > at ? ((this.#loaded - loaded) * 1000) / (now - at) : 0
    this.#tell?.({ loadedBytes: this.#loaded, totalBytes: this.#total, bytesPerSecond })
  }
}
