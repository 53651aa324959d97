import { loadModel } from '../../../dist/index.js'

export async function load({ files, shape, type, threads }) {
  const { contextLength } = shape
  const model = await loadModel(files.safetensors, { device: 'cpu', dtype: type, threads, contextLength })
  return {
    async logits(ids, rows) {
      const { data, shape } = await model.logits(ids)
      return data.slice(data.length - rows * shape[1])
    },

    async generate(ids, { maxTokens, signal, onToken }) {
      for await (const { id } of model.generate(ids, { maxTokens, ignoreEos: true, signal }))
        if (onToken?.(id) === false) break
    },

    stats: () => model.stats(),
  }
}
