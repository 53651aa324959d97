// Who is compared: a package with weights of one type.
import { readFileSync } from 'node:fs'

/**
 * `bits` is how exactly the weights are held: by it contenders are compared, and their logits' error is judged.
 * `bytesPerWeight` counts the scales of blocks of 32, in f16 but for ONNX files, whose are in f32.
 */
export const contenders = [
  { name: 'kvasir-f32', package: 'kvasir', type: 'f32', bits: 32, bytesPerWeight: 4 },
  { name: 'kvasir-bf16', package: 'kvasir', type: 'bf16', bits: 16, bytesPerWeight: 2 },
  { name: 'kvasir-q8', package: 'kvasir', type: 'q8', bits: 8, bytesPerWeight: 34 / 32 },
  { name: 'kvasir-q4', package: 'kvasir', type: 'q4', bits: 4, bytesPerWeight: 20 / 32 },
  ...[
    { type: 'f32', bits: 32, bytesPerWeight: 4 },
    { type: 'f16', bits: 16, bytesPerWeight: 2 },
    { type: 'q8_0', bits: 8, bytesPerWeight: 34 / 32 },
    { type: 'q4_0', bits: 4, bytesPerWeight: 18 / 32 },
  ].map((one) => ({
    ...one,
    name: `node-llama-cpp-${one.type}`,
    package: 'node-llama-cpp',
    file: `gguf ${one.type}`,
  })),
  ...['onnxruntime-node', '@huggingface/transformers'].flatMap((from) =>
    [
      { type: 'fp32', bits: 32, bytesPerWeight: 4 },
      { type: 'q4', bits: 4, bytesPerWeight: 20 / 32 },
    ].map((one) => ({
      ...one,
      name: `${from.replace('@huggingface/', '')}-${one.type}`,
      package: from,
      file: `onnx ${one.type}`,
    })),
  ),
]

/** The file in runners/ that knows a package's interface. */
export function runnerOf(contender) {
  return `${contender.package.replace('@huggingface/', '')}.mjs`
}

/** The installed version, or null. */
export function installedVersion(name) {
  const path = name === 'kvasir' ? '../../package.json' : `node_modules/${name}/package.json`
  try {
    return JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')).version
  } catch (error) {
    if (error.code === 'ENOENT') return null
    throw error
  }
}
