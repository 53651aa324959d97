import { type LanguageModel, loadModel } from 'kvasir'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { traceHtml } from '#kvasir/trace/html.js'
import { attentionSvg, lensSvg } from '#kvasir/trace/svg.js'
import { shakespeare } from '../engine/models.js'

const prompt = 'O Romeo, Romeo! wherefore art thou Romeo?'

describe('looking inside a model', () => {
  let model: LanguageModel
  let T: number
  beforeAll(async () => {
    model = await loadModel(shakespeare, { dtype: 'f32', device: 'cpu' })
    T = (await model.tokenize(prompt)).length
  })
  afterAll(() => model.dispose())

  it('gives what modules computed, by their paths', async () => {
    const { tokens, ids, values } = await model.trace(prompt, {
      capture: ['layers.*', 'lm_head', 'embed_tokens'],
    })
    expect(Object.keys(values)).toEqual([
      'embed_tokens',
      'layers.0',
      'layers.1',
      'layers.2',
      'layers.3',
      'lm_head',
    ])
    expect(tokens).toHaveLength(T)
    expect(ids).toEqual(await model.tokenize(prompt))
    expect(values['layers.2']!.shape).toEqual([T, 128])
    const { data } = await model.logits(prompt)
    expect(values.lm_head!.data).toEqual(data)
  })

  it('gives the weights of attention, by which values were mixed', async () => {
    const capture = [
      'layers.*.self_attn.probabilities',
      'layers.*.self_attn.mixed',
      'layers.*.self_attn.v_proj',
    ]
    const { values } = await model.trace(prompt, { capture })
    const [heads, kvHeads, D] = [4, 2, 32]
    for (let l = 0; l < 4; l++) {
      const of = (name: string) => values[`layers.${l}.self_attn.${name}`]!
      const [p, mixed, v] = [of('probabilities'), of('mixed'), of('v_proj')]
      expect(p.shape).toEqual([heads, T, T])
      let worst = 0
      for (let h = 0; h < heads; h++)
        for (let t = 0; t < T; t++) {
          const row = p.data.subarray((h * T + t) * T, (h * T + t + 1) * T)
          expect(row.reduce((sum, x) => sum + x, 0)).toBeCloseTo(1, 5)
          expect(row.subarray(t + 1).every((x) => x === 0)).toBe(true)
          for (let d = 0; d < D; d++) {
            let sum = 0
            for (let j = 0; j <= t; j++) sum += row[j]! * v.data[(j * kvHeads + Math.floor(h / 2)) * D + d]!
            worst = Math.max(worst, Math.abs(sum - mixed.data[(t * heads + h) * D + d]!))
          }
        }
      expect(worst).toBeLessThan(1e-4)
    }
  })

  it('changes nothing for others, and leaves nothing behind', async () => {
    const alone = (await model.complete(prompt, { maxTokens: 20 })).ids
    const together = await Promise.all([
      model.complete(prompt, { maxTokens: 20 }),
      model.trace(prompt, { capture: ['**'] }),
      model.logitLens(prompt),
    ])
    expect(together[0].ids).toEqual(alone)
    expect((await model.stats()).cache.usedBlocks).toBe(0)
  })

  it('takes prompts longer than a step', async () => {
    const ids = Array.from({ length: 200 }, (_, i) => (i * 31) % 300)
    const { values } = await model.trace(ids, { capture: ['layers.3', 'lm_head'] })
    expect(values.lm_head!.data).toEqual((await model.logits(ids)).data)
    expect(values['layers.3']!.shape).toEqual([200, 128])
  })

  it('tells the prediction by layer, the last being the model’s own', async () => {
    const lens = await model.logitLens(prompt, { top: 3 })
    expect(lens.layers).toEqual(['layers.0', 'layers.1', 'layers.2', 'layers.3'])
    expect(lens.predictions.map((rows) => rows.length)).toEqual([T, T, T, T])
    const next = await model.nextTokens(prompt, { top: 3 })
    for (const [i, { id, text, probability }] of next.entries()) {
      const own = lens.predictions[3]![T - 1]![i]!
      expect(own).toMatchObject({ id, text })
      expect(own.probability).toBeCloseTo(probability, 5)
    }
  })

  it('names the nearest paths where one is unknown', async () => {
    await expect(model.trace(prompt, { capture: ['layers.0.self_atn.q_proj'] })).rejects.toMatchObject({
      name: 'RangeError',
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringContaining('layers.0.self_attn.q_proj'),
    })
    for (const capture of [undefined, 5, [], [5], ['']])
      await expect(model.trace(prompt, { capture: capture as never })).rejects.toMatchObject({
        code: expect.any(String),
      })
    expect(model.capturable).toContain('layers.1.self_attn.probabilities')
  })

  it('draws pictures that are well formed', async () => {
    const hostile = 'a<b>&"\'</script><!-- '
    const traced = await model.trace(hostile, { capture: ['**.probabilities'] })
    const lens = await model.logitLens(hostile)
    for (const svg of [attentionSvg(traced, hostile), lensSvg(lens, hostile)]) {
      expect(svg.match(/<text/g)!.length).toBe(svg.match(/<\/text>/g)!.length)
      expect(svg).not.toMatch(/NaN|undefined/)
      expect(svg.replace(/<\/?(svg|rect|text|title)\b[^<>]*>/g, '')).not.toMatch(/[<>]/)
    }
    const html = traceHtml(hostile, traced, lens)
    expect(html.match(/<\/script>/g)).toHaveLength(2)
    const json = /<script type="application\/json" id="data">(.*?)<\/script>/s.exec(html)![1]!
    expect(JSON.parse(json).tokens).toEqual(traced.tokens)
  })
})
