import { open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { CheckpointError } from '../errors.js'

/** `gpt2/config.json`: enough of a path to find the file by, in messages. */
export function shortPath(path: string): string {
  return join(basename(dirname(path)), basename(path))
}

/**
 * Reads a JSON object from a regular file of bounded size. Null where there is no such file.
 *
 * @throws {CheckpointError} when it is no regular file, larger than `maxBytes`, or not a JSON object
 */
export async function readJsonObject(
  path: string,
  maxBytes: number,
): Promise<Record<string, unknown> | null> {
  const file = shortPath(path)
  const text = await readBounded(path, file, maxBytes)
  if (text === null) return null
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    const problem = { file, expected: 'JSON', found: String((cause as Error).message) }
    throw new CheckpointError('ERR_FILE_FORMAT', `${file}: must be JSON: ${problem.found}`, problem, {
      cause,
    })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CheckpointError('ERR_FILE_FORMAT', `${file}: must be a JSON object`, {
      file,
      expected: 'an object',
    })
  }
  return value as Record<string, unknown>
}

/** Reads a text from a regular file of bounded size; null where there is no such file. */
export function readText(path: string, maxBytes: number): Promise<string | null> {
  return readBounded(path, shortPath(path), maxBytes)
}

async function readBounded(path: string, file: string, maxBytes: number): Promise<string | null> {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const handle = await open(path, 0o4000).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT' || cause.code === 'ENOTDIR') return null
    throw new CheckpointError(
      'ERR_FILE_NOT_FOUND',
      `${file}: cannot be opened: ${cause.code}`,
      { file },
      { cause },
    )
  })
  if (handle === null) return null
  try {
    const stat = await handle.stat()
    if (!stat.isFile()) {
      const problem = { file, expected: 'a regular file' }
      throw new CheckpointError('ERR_FILE_FORMAT', `${file}: must be a regular file`, problem)
    }
    if (stat.size > maxBytes) {
      const problem = { file, expected: `at most ${maxBytes} bytes`, found: `${stat.size} bytes` }
      throw new CheckpointError(
        'ERR_FILE_FORMAT',
        `${file}: must be ${problem.expected}, has ${stat.size}`,
        problem,
      )
    }
    return await handle.readFile('utf8')
  } finally {
    await handle.close()
  }
}
