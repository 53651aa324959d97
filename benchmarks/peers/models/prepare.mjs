// Writes a shape's files where they are not there yet, all from one checkpoint of random weights.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Checkpoint, writeCheckpoint } from './checkpoint.mjs'
import { writeGgufModel } from './gguf-models.mjs'
import { writeOnnxConfig, writeOnnxModel } from './onnx-models.mjs'
import { modelFiles, shapes } from './shapes.mjs'

/**
 * @param {string} shape
 * @param {string[]} needed of `gguf f32`, `onnx fp32` and so on; the checkpoint is always there
 */
export function prepareModels(shape, needed) {
  const files = modelFiles(shape)
  const { config } = shapes[shape]
  once(files.safetensors, (path) => writeCheckpoint(path, config))
  writeOnnxConfig(files.onnxFolder, config)
  const checkpoint = new Checkpoint(files.safetensors)
  try {
    for (const one of needed) {
      const [format, type] = one.split(' ')
      if (format === 'gguf') once(files.gguf(type), (path) => writeGgufModel(path, checkpoint, type))
      if (format === 'onnx') once(files.onnx(type), (path) => writeOnnxModel(path, checkpoint, type))
    }
  } finally {
    checkpoint.close()
  }
}

/**
 * What has its name is whole: it is written, with what belongs to it, in a folder of its own and then moved. The path
 * itself moves last.
 */
function once(path, write) {
  if (existsSync(path)) return
  const folder = dirname(path)
  const unfinished = join(folder, 'unfinished')
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(unfinished, { recursive: true })
  console.log(`writing ${basename(folder)}/${basename(path)}`)
  write(join(unfinished, basename(path)))
  const names = readdirSync(unfinished).toSorted((a, b) => (a === basename(path)) - (b === basename(path)))
  for (const name of names) renameSync(join(unfinished, name), join(folder, name))
  rmSync(unfinished, { recursive: true })
}
