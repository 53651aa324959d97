import { type LanguageModel, loadModel } from 'kvasir'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { shakespeare } from './models.js'

const person = {
  type: 'object',
  properties: {
    name: { type: 'string', maxLength: 12 },
    age: { type: 'integer', minimum: 0, maximum: 150 },
    kind: { enum: ['Montague', 'Capulet'] },
  },
  required: ['name', 'age', 'kind'],
  additionalProperties: false,
} as const

describe('a text under a constraint', () => {
  let model: LanguageModel
  beforeAll(async () => {
    model = await loadModel(shakespeare, { device: 'cpu' })
  })
  afterAll(() => model.dispose())

  it('is JSON of its schema, typed', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const options = { maxTokens: 200, temperature: 1.5, seed, constraint: { json: person } } as const
      const { value, text, finishReason } = await model.complete('Romeo is ', options)
      expect(finishReason).toBe('stop')
      const { name, age, kind } = value!
      const years: number = age
      expect(JSON.parse(text)).toEqual({ name, age: years, kind })
      expect([...name].length).toBeLessThanOrEqual(12)
      expect(years).toBeGreaterThanOrEqual(0)
      expect(years).toBeLessThanOrEqual(150)
      expect(['Montague', 'Capulet']).toContain(kind)
    }
  })

  it('matches a regular expression, a grammar, or is one of some choices', async () => {
    const complete = async (constraint: Parameters<typeof model.complete>[1] & object, seed: number) =>
      (await model.complete('Verona, ', { maxTokens: 100, temperature: 1.5, seed, ...constraint })).text
    for (let seed = 0; seed < 10; seed++) {
      expect(await complete({ constraint: { regex: '[a-f]{3}-\\d{2,4}' } }, seed)).toMatch(
        /^[a-f]{3}-\d{2,4}$/,
      )
      const grammar = 'root ::= "(" root ")" | "x"'
      expect(await complete({ constraint: { grammar }, maxTokens: 400 }, seed)).toMatch(/^\(*x\)*$/)
      expect(['yes', 'no', 'never']).toContain(
        await complete({ constraint: { choices: ['yes', 'no', 'never'] } }, seed),
      )
    }
  })

  it('is the same in any company, with beams and with several texts', async () => {
    const options = (seed: number) =>
      ({ maxTokens: 120, temperature: 1, seed, constraint: { json: person } }) as const
    const alone = []
    for (let seed = 0; seed < 6; seed++) alone.push((await model.complete('x', options(seed))).text)
    const together = await Promise.all(alone.map((_, seed) => model.complete('x', options(seed))))
    expect(together.map(({ text }) => text)).toEqual(alone)
    const several = await model.complete('x', { ...options(0), n: 3 })
    expect(several.choices.map(({ text }) => text)).toEqual(alone.slice(0, 3))
    const beams = await model.complete('x', { beams: 3, n: 2, maxTokens: 120, constraint: { json: person } })
    for (const { text, finishReason } of beams.choices)
      if (finishReason === 'stop') expect(Object.keys(JSON.parse(text))).toEqual(['name', 'age', 'kind'])
  })

  it('skips what it leaves no choice about', async () => {
    const constraint = { regex: 'Wherefore art thou Romeo\\? [ab]' }
    const { text, ids } = await model.complete('x', { constraint, maxTokens: 50 })
    expect(text).toMatch(/^Wherefore art thou Romeo\? [ab]$/)
    const { steps: before } = await model.stats()
    await model.complete('x', { constraint, maxTokens: 50 })
    const { steps } = await model.stats()
    expect(steps - before).toBeLessThan(ids.length)
    const asked = await model.complete('x', { constraint, maxTokens: 50, logprobs: 0 })
    expect(asked.text).toMatch(/^Wherefore art thou Romeo\? [ab]$/)
    const [only] = (await model.complete('x', { constraint: { choices: ['Only this.'] } })).choices
    expect(only).toMatchObject({ text: 'Only this.', finishReason: 'stop', value: 'Only this.' })
  })

  it('is cut off by maxTokens, and then has no value', async () => {
    const { text, value, finishReason } = await model.complete('x', {
      maxTokens: 5,
      constraint: { json: person },
    })
    expect(finishReason).toBe('length')
    expect(value).toBeUndefined()
    expect(text.startsWith('{')).toBe(true)
  })

  it('names the place of what is wrong', async () => {
    await expect(
      model.complete('x', { constraint: { json: { type: 'strnig' } as never } }),
    ).rejects.toMatchObject({
      name: 'ConstraintError',
    })
    await expect(model.complete('x', { constraint: { regex: '(' } })).rejects.toMatchObject({
      name: 'ConstraintError',
    })
    for (const wrong of [null, 5, {}, { json: 5 }, { regex: 5 }, { choices: [] }, { regex: 'a', json: true }])
      await expect(model.complete('x', { constraint: wrong as never })).rejects.toMatchObject({
        code: expect.stringMatching(/^ERR_INVALID_ARG/),
      })
  })
})
