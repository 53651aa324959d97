import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readChatTemplates } from '#kvasir/checkpoint/chat-templates.js'
import { temporaryFolder } from './folders.js'
import { writeGguf } from './gguf-writer.js'

function folderWith(files: Record<string, string>): string {
  const folder = temporaryFolder()
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  return folder
}

describe('chat templates', () => {
  it('are none where there are none', async () => {
    expect(Object.keys(await readChatTemplates(folderWith({})))).toEqual([])
    expect(Object.keys(await readChatTemplates(folderWith({ 'tokenizer_config.json': '{}' })))).toEqual([])
  })

  it('come from tokenizer_config.json, one or several, and from a file of their own', async () => {
    const config = (template: unknown) => JSON.stringify({ chat_template: template })
    expect(await readChatTemplates(folderWith({ 'tokenizer_config.json': config('{{ a }}') }))).toMatchObject(
      {
        default: '{{ a }}',
      },
    )
    const several = [
      { name: 'default', template: 'one' },
      { name: 'tool_use', template: 'two' },
      { name: '__proto__', template: 'three' },
    ]
    const files = { 'tokenizer_config.json': config(several), 'chat_template.jinja': 'four' }
    const found = await readChatTemplates(folderWith(files))
    expect(Object.entries(found).sort()).toEqual([
      ['__proto__', 'three'],
      ['default', 'four'],
      ['tool_use', 'two'],
    ])
  })

  it('come from a GGUF file', async () => {
    const path = writeGguf(join(temporaryFolder(), 'model.gguf'), {
      values: [
        ['tokenizer.chat_template', 'string', '{{ messages }}'],
        ['tokenizer.chat_template.rag', 'string', 'other'],
        ['tokenizer.chat_templates', 'array', ['string', ['rag']]],
      ],
      tensors: [],
    })
    expect(await readChatTemplates(path)).toMatchObject({ default: '{{ messages }}', rag: 'other' })
  })

  it.each([
    ['a number', '{ "chat_template": 3 }'],
    ['a list of texts', '{ "chat_template": ["a"] }'],
    ['no JSON', '{'],
  ])('are refused as %s', async (_, text) => {
    const folder = folderWith({ 'tokenizer_config.json': text })
    await expect(readChatTemplates(folder)).rejects.toMatchObject({ code: 'ERR_FILE_FORMAT' })
  })

  it('are refused where they are a folder, or too large', async () => {
    const folder = temporaryFolder()
    mkdirSync(join(folder, 'chat_template.jinja'))
    await expect(readChatTemplates(folder)).rejects.toMatchObject({ name: 'CheckpointError' })
    const large = folderWith({ 'chat_template.jinja': 'x'.repeat(2 ** 20 + 1) })
    await expect(readChatTemplates(large)).rejects.toMatchObject({ name: 'CheckpointError' })
  })
})
