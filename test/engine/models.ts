import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { modelFor } from '#kvasir/models/registry.js'
import { parameters } from '#kvasir/nn/index.js'
import { rootDir } from '../shared.js'

/** The model that comes with the package: trained, with a tokenizer. */
export const shakespeare = join(rootDir, 'models', 'tiny-shakespeare')

/** A small random one that takes ids. */
export const fixture = join(rootDir, 'test', 'fixtures', 'llama')

/** A checkpoint of random weights in a folder of its own. */
export async function randomFolder(config: Record<string, unknown>): Promise<string> {
  const { writeRandomCheckpoint } = await import('../../scripts/random-checkpoint.mjs')
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-'))
  const model = modelFor(config)
  writeRandomCheckpoint({
    folder,
    config,
    parameters: parameters(model),
    transposed: [...model.checkpoint.transposed],
  })
  return folder
}

/** A checkpoint whose prefill takes some tenths of a second: long enough to be interrupted. */
export async function slowCheckpoint(): Promise<{ folder: string; remove(): void }> {
  const folder = await randomFolder({
    model_type: 'gpt2',
    vocab_size: 500,
    n_positions: 1024,
    n_embd: 512,
    n_layer: 6,
    n_head: 8,
  })
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
