import { getLlama, LlamaCompletion } from 'node-llama-cpp'

export async function load({ files, shape, type, threads, sequences = 1 }) {
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error' })
  const model = await llama.loadModel({ modelPath: files.gguf(type) })
  const { contextLength } = shape
  const context = await model.createContext({
    sequences,
    contextSize: contextLength,
    batchSize: 512,
    threads,
  })
  const free = Array.from({ length: sequences }, () => ({ sequence: context.getSequence(), cleared: null }))
  const withSequence = async (body) => {
    const one = free.shift()
    try {
      await one.cleared
      return await body(one.sequence)
    } finally {
      // Not awaited: while other sequences are continued, clearing one can take until they end.
      one.cleared = one.sequence.clearHistory()
      free.push(one)
    }
  }
  return {
    logits: (ids, rows) =>
      withSequence(async (sequence) => {
        const from = ids.length - rows
        const wanted = { generateNext: { logits: true } }
        const results = await sequence.controlledEvaluate(ids.map((id, i) => (i < from ? id : [id, wanted])))
        const data = new Float32Array(rows * shape.config.vocab_size)
        for (let row = 0; row < rows; row++)
          for (const [id, logit] of results[from + row].next.logits)
            data[row * shape.config.vocab_size + id] = logit
        return data
      }),

    generate: (ids, { maxTokens, signal, onToken }) =>
      withSequence(async (sequence) => {
        if (signal) return complete(sequence, ids, { maxTokens, signal, onToken })
        let count = 0
        for await (const id of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true }))
          if (onToken?.(id) === false || ++count === maxTokens) break
      }),
  }
}

/** What takes a signal is one floor up. */
async function complete(contextSequence, ids, { maxTokens, signal, onToken }) {
  const completion = new LlamaCompletion({ contextSequence, autoDisposeSequence: false })
  try {
    await completion.generateCompletion(ids, {
      maxTokens,
      signal,
      temperature: 0,
      onToken: (all) => all.forEach(onToken ?? (() => {})),
    })
  } finally {
    completion.dispose()
  }
}
