import { open, stat, unlink, utimes } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

const pollMs = 100
/** Who holds a lock shows so often that it is alive; a lock that was not touched for long is nobody's. */
const touchMs = 2000
const staleMs = 15_000

/** Runs `body` while no other call, of this process or another, does it under the same path. */
export async function withFileLock<T>(
  path: string,
  signal: AbortSignal | undefined,
  body: () => Promise<T>,
): Promise<T> {
  while (!(await tryLock(path))) {
    signal?.throwIfAborted()
    await sleep(pollMs)
  }
  const touching = setInterval(() => {
    const now = new Date()
    utimes(path, now, now).catch(() => {})
  }, touchMs)
  try {
    return await body()
  } finally {
    clearInterval(touching)
    await unlink(path).catch(() => {})
  }
}

async function tryLock(path: string): Promise<boolean> {
  try {
    await (await open(path, 'wx')).close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const touched = await stat(path).catch(() => null)
  if (touched && Date.now() - touched.mtimeMs > staleMs) await unlink(path).catch(() => {})
  return false
}
