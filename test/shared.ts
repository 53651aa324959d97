import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const folder = process.env.KVASIR_SHARED ?? join(root, '..', 'shared')

/** The folder of shared test data (real checkpoints, tokenizers, texts), or null where it is absent. */
export const sharedDir: string | null = existsSync(join(folder, 'models')) ? folder : null

/** Path of a file in the shared data; call only where `sharedDir` is not null. */
export function shared(...parts: string[]): string {
  return join(folder, ...parts)
}

/** The repository's root. */
export const rootDir = root
