import { getLlama, LlamaCompletion } from 'node-llama-cpp'

export async function load({ files, shape, type, threads }) {
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error' })
  const model = await llama.loadModel({ modelPath: files.gguf(type) })
  const { contextLength } = shape
  const context = await model.createContext({ contextSize: contextLength, batchSize: 512, threads })
  const sequence = context.getSequence()
  return {
    async logits(ids, rows) {
      await sequence.clearHistory()
      const from = ids.length - rows
      const wanted = { generateNext: { logits: true } }
      const results = await sequence.controlledEvaluate(ids.map((id, i) => (i < from ? id : [id, wanted])))
      const data = new Float32Array(rows * shape.config.vocab_size)
      for (let row = 0; row < rows; row++)
        for (const [id, logit] of results[from + row].next.logits)
          data[row * shape.config.vocab_size + id] = logit
      return data
    },

    async generate(ids, { maxTokens, signal, onToken }) {
      await sequence.clearHistory()
      if (signal) {
        // What takes a signal is one floor up.
        const completion = new LlamaCompletion({ contextSequence: sequence, autoDisposeSequence: false })
        await completion.generateCompletion(ids, {
          maxTokens,
          signal,
          temperature: 0,
          onToken: (all) => all.forEach(onToken ?? (() => {})),
        })
        completion.dispose()
        return
      }
      let count = 0
      for await (const id of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
        onToken?.(id)
        if (++count === maxTokens) break
      }
    },
  }
}
