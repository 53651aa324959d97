import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { rootDir } from './shared.js'

/** The device under test: `KVASIR_TEST_DEVICE=cuda-emulated` runs the same tests on emulated GPUs. */
export const testDevice: 'cpu' | 'cuda-emulated' =
  process.env.KVASIR_TEST_DEVICE === 'cuda-emulated' ? 'cuda-emulated' : 'cpu'

const module =
  process.env.KVASIR_EMULATED_MODULE ?? join(rootDir, 'build', 'emulated', 'kvasir-cuda-emulated.so')

/** Whether the emulated GPU's library has been built (`npm run build:emulated`). */
export const hasEmulator = existsSync(module)

/** The emulated GPU's library. */
export function emulatedModule(): string {
  return module
}

if (testDevice === 'cuda-emulated') process.env.KVASIR_CUDA_MODULE = module

/** Options by which `loadModel` takes the device under test, and computes in f32 there. */
export const deviceOptions =
  testDevice === 'cpu' ? ({ device: 'cpu' } as const) : ({ device: 'cuda', dtype: 'f32' } as const)
