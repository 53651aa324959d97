import { basename, dirname } from 'node:path'
import { AutoModelForCausalLM, env, InterruptableStoppingCriteria, Tensor } from '@huggingface/transformers'
import { sessionOptions } from './session-options.mjs'

export async function load({ files, shape, type, threads }) {
  env.allowRemoteModels = false
  env.localModelPath = `${dirname(files.onnxFolder)}/`
  const model = await AutoModelForCausalLM.from_pretrained(basename(files.onnxFolder), {
    dtype: type,
    device: 'cpu',
    local_files_only: true,
    session_options: sessionOptions(threads),
  })
  const integers = (values) => new Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length])

  return {
    async logits(ids, rows) {
      const { vocab_size } = shape.config
      const data = new Float32Array(rows * vocab_size)
      for (let row = 0; row < rows; row++) {
        const tokens = ids.slice(0, ids.length - rows + row + 1)
        const mask = new Array(tokens.length).fill(1)
        const { logits } = await model({ input_ids: integers(tokens), attention_mask: integers(mask) })
        data.set(logits.data, row * vocab_size)
      }
      return data
    },

    async generate(ids, { maxTokens, signal, onToken }) {
      const stopping = new InterruptableStoppingCriteria()
      const stop = () => stopping.interrupt()
      signal?.addEventListener('abort', stop)
      let isPrompt = true
      const streamer = {
        put([tokens]) {
          if (!isPrompt) onToken?.(Number(tokens.at(-1)))
          isPrompt = false
        },
        end() {},
      }
      await model.generate({
        input_ids: integers(ids),
        attention_mask: integers(ids.map(() => 1)),
        max_new_tokens: maxTokens,
        do_sample: false,
        stopping_criteria: stopping,
        streamer,
      })
      signal?.removeEventListener('abort', stop)
      signal?.throwIfAborted()
    },
  }
}
