import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ChatPiece, type LanguageModel, loadModel } from 'kvasir'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fixture, shakespeare } from '../engine/models.js'

describe('a model with a chat template', () => {
  let folder: string
  let model: LanguageModel
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'kvasir-chat-'))
    cpSync(shakespeare, folder, { recursive: true })
    const template =
      '{% for m in messages %}{{ m.role | upper }}:\n{{ m.content }}\n\n{% endfor %}{% if add_generation_prompt %}ROMEO:\n{% endif %}'
    writeFileSync(join(folder, 'chat_template.jinja'), template)
    model = await loadModel(folder)
  })
  afterAll(async () => {
    await model.dispose()
    rmSync(folder, { recursive: true, force: true })
  })

  const messages = [{ role: 'user', content: 'Wherefore art thou?' }]

  it('answers as it continues the rendered text', async () => {
    const text = await model.renderChat(messages)
    expect(text).toBe('USER:\nWherefore art thou?\n\nROMEO:\n')
    const options = { maxTokens: 30, temperature: 0.8, seed: 3 }
    const pieces: ChatPiece[] = []
    const stream = model.chat(messages, options)
    for await (const piece of stream) pieces.push(piece)
    const answer = await stream.answer()
    const plain = await model.complete(text, options)
    expect(answer.text).toBe(plain.text.trimStart())
    expect(pieces.map((piece) => (piece.type === 'text' ? piece.text : '')).join('')).toBe(answer.text)
    expect(answer).toMatchObject({ reasoning: '', toolCalls: [], finishReason: 'length' })
    expect((await model.chat(messages, options).answer()).text).toBe(answer.text)
  })

  it('stops when the reader leaves, and refuses what is no conversation', async () => {
    for await (const _ of model.chat(messages)) break
    for (const wrong of [
      null,
      [],
      ['x'],
      [{}],
      [{ role: 'user', content: 5 }],
      [{ role: 'user', content: [{}] }],
    ])
      expect(() => model.chat(wrong as never)).toThrow(expect.objectContaining({ code: expect.any(String) }))
    expect((await model.stats()).cache.usedBlocks).toBe(0)
  })

  it('says so where there is no template', async () => {
    await using other = await loadModel(fixture)
    await expect(other.chat(messages).answer()).rejects.toMatchObject({ code: 'ERR_TEMPLATE' })
  })
})
