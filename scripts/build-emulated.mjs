// Builds the emulated GPU's library, build/emulated/kvasir-cuda-emulated.so: the CUDA sources compiled by g++ for the
// emulator in native/device/cuda/emulator. Compiles what has changed, a file a processor.
//
//   node scripts/build-emulated.mjs [--variant=address | --variant=thread]
//
// The library of a variant, build/emulated-address or build/emulated-thread, is for sanitizers.
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { buildEmulated } from './emulated.mjs'

process.chdir(resolve(dirname(fileURLToPath(import.meta.url)), '..'))
const { values } = parseArgs({ options: { variant: { type: 'string', default: 'plain' } } })
process.exitCode = (await buildEmulated(values.variant)) ? 0 : 1
