import { access, mkdir, readFile, rename, stat, symlink, unlink, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import type { HubName } from './hub-name.js'

/** Where models from the hub are kept, as other tools keep them, too. */
export function cacheFolder(): string {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE } = process.env
  return HF_HUB_CACHE || HUGGINGFACE_HUB_CACHE || join(hubHome(), 'hub')
}

function hubHome(): string {
  const { HF_HOME, XDG_CACHE_HOME } = process.env
  return HF_HOME || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface')
}

/** The access token: of the environment, or where the hub's own command line keeps it. */
export async function accessToken(): Promise<string | undefined> {
  const { HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH } = process.env
  const given = HF_TOKEN || HUGGING_FACE_HUB_TOKEN
  if (given) return given.trim()
  const file = HF_TOKEN_PATH || join(hubHome(), 'token')
  const kept = await readFile(file, 'utf8').catch(() => '')
  return kept.trim() || undefined
}

const commitPattern = /^[0-9a-f]{40}$/

/**
 * A model's place in the cache: `blobs/` holds files by their hashes, `snapshots/<commit>/` links to them by name,
 * `refs/<branch>` says which commit a branch was at.
 */
export class CachedModel {
  readonly folder: string
  readonly #revision: string

  constructor({ repo, revision }: HubName, cache = cacheFolder()) {
    this.folder = join(cache, `models--${repo.replace('/', '--')}`)
    this.#revision = revision
  }

  blobPath(etag: string): string {
    return join(this.folder, 'blobs', etag)
  }

  snapshotPath(commit: string): string {
    return join(this.folder, 'snapshots', commit)
  }

  /** The commit that the revision was at when it was last asked for. */
  async commit(): Promise<string | undefined> {
    if (commitPattern.test(this.#revision)) return this.#revision
    const kept = await readFile(this.#refPath(), 'utf8').catch(() => '')
    return commitPattern.test(kept.trim()) ? kept.trim() : undefined
  }

  async noteCommit(commit: string): Promise<void> {
    if (commitPattern.test(this.#revision)) return
    const path = this.#refPath()
    await mkdir(dirname(path), { recursive: true })
    const own = `${path}.${process.pid}-${Math.random().toString(36).slice(2)}`
    await writeFile(own, commit)
    await rename(own, path)
  }

  /** Lets a snapshot's file be the blob. */
  async link(commit: string, file: string, etag: string): Promise<void> {
    const path = join(this.snapshotPath(commit), file)
    await mkdir(dirname(path), { recursive: true })
    if (await exists(path)) return
    await unlink(path).catch(() => {}) // a link to nothing
    await symlink(relative(dirname(path), this.blobPath(etag)), path).catch((error) => {
      if (error.code !== 'EEXIST') throw error // another process was faster
    })
  }

  #refPath(): string {
    return join(this.folder, 'refs', ...this.#revision.split('/'))
  }
}

/** Whether there is a file, links followed. */
export function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** A file's bytes; 0 where there is none. */
export async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => null))?.size ?? 0
}
