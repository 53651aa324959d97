import { invalidType, invalidValue } from '../errors.js'
import type { ToolCall } from './answer-parser.js'

/** A part of a message's content, where it has several. */
export interface ContentPart {
  type: 'text'
  text: string
}

/** One message of a conversation, as chat templates know them. */
export interface ChatMessage {
  role: 'system' | 'user' | 'assistant' | 'tool' | (string & {})
  content?: string | readonly ContentPart[] | null
  /** Of an assistant: what it thought, and the tools it called. */
  reasoning?: string
  toolCalls?: readonly ToolCall[]
  /** Of a tool: its name. */
  name?: string
}

/** A tool that the model may call. */
export interface ChatTool {
  name: string
  description?: string
  /** A JSON schema of its arguments: an object. */
  parameters?: Readonly<Record<string, unknown>>
}

const mostMessages = 10_000
const mostCharacters = 2 ** 23

/** @throws {TypeError | RangeError} when something is no conversation */
export function checkMessages(where: string, messages: unknown): asserts messages is readonly ChatMessage[] {
  if (!Array.isArray(messages)) throw invalidType(`${where}: messages`, 'an array', messages)
  if (messages.length === 0 || messages.length > mostMessages)
    throw invalidValue(`${where}: messages`, `from 1 to ${mostMessages} of them`, messages.length)
  let characters = 0
  for (const [i, message] of messages.entries()) {
    const place = `${where}: messages[${i}]`
    if (typeof message !== 'object' || message === null || Array.isArray(message))
      throw invalidType(place, 'an object', message)
    checkMessage(place, message)
    characters += JSON.stringify(message).length
  }
  if (characters > mostCharacters)
    throw invalidValue(`${where}: messages`, `at most ${mostCharacters} characters together`, characters)
}

function checkMessage(place: string, { role, content, reasoning, toolCalls, name }: ChatMessage): void {
  if (typeof role !== 'string') throw invalidType(`${place}.role`, 'a string', role)
  for (const [key, text] of Object.entries({ reasoning, name }))
    if (text !== undefined && typeof text !== 'string') throw invalidType(`${place}.${key}`, 'a string', text)
  if (Array.isArray(content)) {
    for (const part of content) {
      if (part?.type !== 'text' || typeof part.text !== 'string')
        throw invalidType(`${place}.content`, "a string, or parts such as { type: 'text', text }", part)
    }
  } else if (content !== undefined && content !== null && typeof content !== 'string') {
    throw invalidType(`${place}.content`, "a string, or parts such as { type: 'text', text }", content)
  }
  if (toolCalls === undefined) return
  if (!Array.isArray(toolCalls)) throw invalidType(`${place}.toolCalls`, 'an array', toolCalls)
  for (const call of toolCalls) {
    if (typeof call?.name !== 'string') throw invalidType(`${place}.toolCalls: name`, 'a string', call?.name)
    if (typeof call.arguments !== 'object' || call.arguments === null)
      throw invalidType(`${place}.toolCalls: arguments`, 'an object', call.arguments)
  }
}

export function checkTools(where: string, tools: unknown): asserts tools is readonly ChatTool[] | undefined {
  if (tools === undefined) return
  if (!Array.isArray(tools)) throw invalidType(`${where}: tools`, 'an array', tools)
  if (tools.length > 1024) throw invalidValue(`${where}: tools`, 'at most 1024', tools.length)
  for (const [i, tool] of tools.entries()) {
    if (typeof tool?.name !== 'string')
      throw invalidType(`${where}: tools[${i}].name`, 'a string', tool?.name)
  }
}

/** Messages as templates expect them, with the names that they use. */
export function templateMessages(messages: readonly ChatMessage[]): Record<string, unknown>[] {
  return messages.map(({ role, content, reasoning, toolCalls, name }) => ({
    role,
    content: typeof content === 'string' ? content : (content ?? []).map(({ text }) => text).join(''),
    ...(reasoning === undefined ? {} : { reasoning_content: reasoning }),
    ...(name === undefined ? {} : { name }),
    ...(toolCalls === undefined
      ? {}
      : { tool_calls: toolCalls.map((call, i) => ({ id: callId(i), type: 'function', function: call })) }),
  }))
}

/** Nine letters or digits, as Mistral's templates want them. */
function callId(index: number): string {
  return `call${String(index).padStart(5, '0')}`
}

/** Tools as templates expect them. */
export function templateTools(tools: readonly ChatTool[]): Record<string, unknown>[] {
  return tools.map(({ name, description = '', parameters = { type: 'object', properties: {} } }) => ({
    type: 'function',
    function: { name, description, parameters },
  }))
}
