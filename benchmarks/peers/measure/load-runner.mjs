import { watchEventLoop } from '../../event-loop-delay.mjs'
import { modelFiles, shapes } from '../models/shapes.mjs'

/** Loads a model with the runner in the file `runner`; `shape` is a shape's name. */
export async function loadRunner({ runner, shape, type, threads, sequences }) {
  const options = { files: modelFiles(shape), shape: shapes[shape], type, threads, sequences }
  const importStart = performance.now()
  const { load } = await import(runner)
  const importMs = performance.now() - importStart
  const { result, delay } = await watchEventLoop(async () => {
    const start = performance.now()
    const loaded = await load(options)
    return { loaded, loadMs: performance.now() - start }
  })
  return { runner: result.loaded, importMs, loadMs: result.loadMs, delay }
}
