import { InferenceSession, Tensor } from 'onnxruntime-node'
import { dimensions } from '../models/shapes.mjs'
import { sessionOptions } from './session-options.mjs'

export async function load({ files, shape, type, threads }) {
  const session = await InferenceSession.create(files.onnx(type), sessionOptions(threads))
  const { L, KH, D, V } = dimensions(shape.config)

  function emptyCache() {
    const names = Array.from({ length: L }, (_, layer) => [`${layer}.key`, `${layer}.value`]).flat()
    return names.map((name) => [name, new Tensor('float32', new Float32Array(0), [1, KH, 0, D])])
  }

  /** Runs some tokens after those cached, and returns the last one's logits and the cache with all. */
  async function step(ids, { cache, cached }) {
    const total = cached + ids.length
    const outputs = await session.run({
      input_ids: new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]),
      attention_mask: new Tensor('int64', new BigInt64Array(total).fill(1n), [1, total]),
      ...Object.fromEntries(cache.map(([name, tensor]) => [`past_key_values.${name}`, tensor])),
    })
    const next = cache.map(([name]) => [name, outputs[`present.${name}`]])
    return { logits: outputs.logits.data, state: { cache: next, cached: total } }
  }

  return {
    async logits(ids, rows) {
      const data = new Float32Array(rows * V)
      let state = { cache: emptyCache(), cached: 0 }
      for (let row = 0; row < rows; row++) {
        const to = ids.length - rows + row + 1
        const result = await step(ids.slice(state.cached, to), state)
        state = result.state
        data.set(result.logits, row * V)
      }
      return data
    },

    async generate(ids, { maxTokens, signal, onToken }) {
      let state = { cache: emptyCache(), cached: 0 }
      let tokens = ids
      for (let count = 0; count < maxTokens; count++) {
        signal?.throwIfAborted()
        const result = await step(tokens, state)
        state = result.state
        tokens = [largestIndex(result.logits)]
        onToken?.(tokens[0])
      }
    },
  }
}

function largestIndex(values) {
  let found = 0
  for (let i = 1; i < values.length; i++) if (values[i] > values[found]) found = i
  return found
}
