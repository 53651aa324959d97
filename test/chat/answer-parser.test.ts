import { describe, expect, it } from 'vitest'
import { AnswerParser, type ChatPiece } from '#kvasir/chat/index.js'

/** All pieces of a text that comes in parts of `size` characters, neighbours of one type joined. */
function parse(
  text: string,
  size: number,
  options: { thinks?: boolean; expectsCalls?: boolean } = {},
): ChatPiece[] {
  const parser = new AnswerParser({ thinks: false, expectsCalls: false, ...options })
  const pieces: ChatPiece[] = []
  for (let at = 0; at < text.length; at += size) pieces.push(...parser.push(text.slice(at, at + size)))
  pieces.push(...parser.end())
  return pieces.reduce<ChatPiece[]>((joined, piece) => {
    const last = joined.at(-1)
    if (last && piece.type !== 'toolCall' && last.type === piece.type)
      joined[joined.length - 1] = { type: piece.type, text: (last as { text: string }).text + piece.text }
    else joined.push(piece)
    return joined
  }, [])
}

const text = (value: string): ChatPiece => ({ type: 'text', text: value })
const reasoning = (value: string): ChatPiece => ({ type: 'reasoning', text: value })
const call = (name: string, args: Record<string, unknown>): ChatPiece => ({
  type: 'toolCall',
  call: { name, arguments: args },
})

describe.each([1, 2, 3, 7, 1000])('an answer that comes in parts of %i characters', (size) => {
  it.each<[string, string, { thinks?: boolean; expectsCalls?: boolean }, ChatPiece[]]>([
    ['plain', 'Hello, a < b and [x]!', {}, [text('Hello, a < b and [x]!')]],
    ['thinks', '<think>\nhm\n</think>\n\nYes.', {}, [reasoning('\nhm\n'), text('Yes.')]],
    ['goes on thinking', 'hm</think>Yes.', { thinks: true }, [reasoning('hm'), text('Yes.')]],
    ['only thinks', 'hm </thin', { thinks: true }, [reasoning('hm </thin')]],
    [
      'Hermes',
      'Let me see.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>',
      {},
      [text('Let me see.'), call('weather', { city: 'Oslo' })],
    ],
    [
      'Hermes, two',
      '<tool_call>{"name": "a", "arguments": {}}</tool_call>\n<tool_call>{"name": "b", "arguments": {"x": 1}}</tool_call>',
      {},
      [call('a', {}), call('b', { x: 1 })],
    ],
    [
      'Llama 3, bare',
      '{"name": "weather", "parameters": {"city": "Oslo"}}',
      { expectsCalls: true },
      [call('weather', { city: 'Oslo' })],
    ],
    [
      'Llama 3, several',
      '{"name": "a", "parameters": {}}; {"name": "b", "parameters": {"x": "1; {2}"}}',
      { expectsCalls: true },
      [call('a', {}), call('b', { x: '1; {2}' })],
    ],
    [
      'Llama 3, tagged',
      '<|python_tag|>{"type": "function", "name": "a", "parameters": {"x": [1]}}',
      {},
      [call('a', { x: [1] })],
    ],
    [
      'Mistral',
      '[TOOL_CALLS][{"name": "a", "arguments": {"x": 1}}, {"name": "b", "arguments": {}}]',
      {},
      [call('a', { x: 1 }), call('b', {})],
    ],
    ['Mistral, newer', '[TOOL_CALLS]a[ARGS]{"x": 1}', {}, [call('a', { x: 1 })]],
    [
      'arguments as text',
      '<tool_call>{"name":"a","arguments":"{\\"x\\":1}"}</tool_call>',
      {},
      [call('a', { x: 1 })],
    ],
    ['JSON, no call', '{"x": 1}', { expectsCalls: true }, [text('{"x": 1}')]],
    ['JSON, no tools', '{"name": "a", "parameters": {}}', {}, [text('{"name": "a", "parameters": {}}')]],
    ['a broken call', '<tool_call>{"name": </tool_call>ok', {}, [text('{"name": ok')]],
    ['an unfinished call', '<tool_call>{"name": "a"', {}, [text('{"name": "a"')]],
    ['nothing', '', {}, []],
  ])('%s', (_, whole, options, expected) => {
    expect(parse(whole, size, options)).toEqual(expected)
  })
})
