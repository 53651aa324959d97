import { readFileSync } from 'node:fs'
import { type LanguageModel, loadModel } from 'kvasir'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { deviceOptions } from '../devices.js'
import { shared, sharedDir } from '../shared.js'

interface Golden {
  prompt?: string
  ids: number[] | number[][]
  logits: number[][] | number[][][]
  greedy?: number[]
  text?: string
}

const tiny = ['gemma', 'gpt2', 'gpt_neo', 'llama', 'opt', 'qwen2'].map((name) => `tiny/${name}`)
const names = ['stories260K', 'gpt-nano-sort', ...tiny]

// Logits and greedy texts of an independent float64 implementation.
describe.skipIf(!sharedDir).each(names)('golden %s', (name) => {
  let model: LanguageModel
  let golden: Golden

  beforeAll(async () => {
    golden = JSON.parse(readFileSync(shared('models', name, 'golden.json'), 'utf8'))
    model = await loadModel(shared('models', name), deviceOptions)
  })
  afterAll(() => model?.dispose())

  it('gives the logits within 2e-4 of their standard deviation', async () => {
    const several = Array.isArray(golden.ids[0])
    const prompts = (several ? golden.ids : [golden.ids]) as number[][]
    const expected = (several ? golden.logits : [golden.logits]) as number[][][]
    for (const [i, ids] of prompts.entries()) {
      const truth = expected[i]!.flat()
      const { data } = await model.logits(ids)
      const mean = truth.reduce((sum, x) => sum + x, 0) / truth.length
      const deviation = Math.sqrt(truth.reduce((sum, x) => sum + (x - mean) ** 2, 0) / truth.length)
      expect(data.length).toBe(truth.length)
      expect(Math.max(...truth.map((x, j) => Math.abs(x - data[j]!))) / deviation).toBeLessThan(2e-4)
    }
  })

  it('generates the greedy ids, and the text where there is one', async () => {
    const [prompt, greedy] = greedyOf(golden)
    const { ids, text } = await model.complete(prompt, { maxTokens: greedy.length, ignoreEos: true })
    expect(ids).toEqual(greedy)
    if (golden.prompt === undefined) return
    expect(await model.tokenize(golden.prompt)).toEqual(prompt)
    expect(golden.text).toContain(text.slice(0, 40))
    const again = await model.complete(golden.prompt, { maxTokens: 50, ignoreEos: true })
    expect(again.ids).toEqual(greedy.slice(0, 50))
  })
})

/** A prompt and what follows it; where the golden has no such ids, one token that its logits decide. */
function greedyOf({ ids, logits, greedy }: Golden): [prompt: number[], greedy: number[]] {
  if (greedy) return [ids as number[], greedy]
  const last = (logits as number[][][])[0]!.at(-1)!
  return [(ids as number[][])[0]!, [last.indexOf(Math.max(...last))]]
}
