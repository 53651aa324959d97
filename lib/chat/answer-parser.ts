/** A call of a tool that the model asks for. */
export interface ToolCall {
  name: string
  arguments: Record<string, unknown>
}

/** One piece of an answer. */
export type ChatPiece =
  | { type: 'text'; text: string }
  | { type: 'reasoning'; text: string }
  | { type: 'toolCall'; call: ToolCall }

type State = 'text' | 'reasoning' | 'tagged' | 'trailing' | 'bare'

/** What begins something else than text, and the state that follows. */
const openings: readonly (readonly [string, State])[] = [
  ['<think>', 'reasoning'],
  ['<tool_call>', 'tagged'], // Hermes, Qwen
  ['[TOOL_CALLS]', 'trailing'], // Mistral
  ['<|python_tag|>', 'trailing'], // Llama 3
]
const closings: Partial<Record<State, string>> = { reasoning: '</think>', tagged: '</tool_call>' }

/**
 * Takes a streamed answer apart: what the model thinks, what it says, and the tools it calls, in the forms of Hermes and
 * Qwen (`<tool_call>{...}</tool_call>`), Llama 3 (a bare object, or one after `<|python_tag|>`) and Mistral
 * (`[TOOL_CALLS][...]`, `[TOOL_CALLS]name[ARGS]{...}`). What is no call after all is text.
 */
export class AnswerParser {
  #state: State
  #held = ''
  #begun = false
  readonly #expectsCalls: boolean

  constructor({ thinks, expectsCalls }: { thinks: boolean; expectsCalls: boolean }) {
    this.#state = thinks ? 'reasoning' : 'text'
    this.#expectsCalls = expectsCalls
  }

  push(text: string): ChatPiece[] {
    this.#held += text
    const pieces: ChatPiece[] = []
    while (this.#advance(pieces)) {}
    return pieces
  }

  /** No more text comes. */
  end(): ChatPiece[] {
    const held = this.#held
    this.#held = ''
    if (held === '') return []
    if (this.#state === 'text' || this.#state === 'reasoning') return [{ type: this.#state, text: held }]
    const calls = readCalls(held)
    return calls.length > 0 ? calls : [{ type: 'text', text: held }]
  }

  /** Takes one step; false where more text is needed. */
  #advance(pieces: ChatPiece[]): boolean {
    switch (this.#state) {
      case 'text':
        return this.#text(pieces)
      case 'reasoning':
      case 'tagged':
        return this.#enclosed(pieces, this.#state, closings[this.#state]!)
      default:
        return false // to the end
    }
  }

  #text(pieces: ChatPiece[]): boolean {
    if (!this.#begun) {
      this.#held = this.#held.trimStart()
      if (this.#held === '') return false
      if (this.#expectsCalls && /^\{|^\[\{/.test(this.#held)) {
        this.#state = 'bare'
        return false
      }
    }
    const found = openings
      .map(([opening, state]) => ({ at: this.#held.indexOf(opening), opening, state }))
      .filter(({ at }) => at >= 0)
      .sort((a, b) => a.at - b.at)[0]
    const end = found ? found.at : this.#certain()
    if (end > 0) {
      this.#begun = true
      const text = found ? this.#held.slice(0, end).trimEnd() : this.#held.slice(0, end)
      if (text !== '') pieces.push({ type: 'text', text })
    }
    this.#held = this.#held.slice(found ? end + found.opening.length : end)
    if (!found) return false
    this.#state = found.state
    return true
  }

  /** Length of the text that no opening can follow at once: white space before one is no part of the text. */
  #certain(): number {
    const open = undecided(
      this.#held,
      openings.map(([opening]) => opening),
    )
    return this.#held.slice(0, this.#held.length - open).trimEnd().length
  }

  #enclosed(pieces: ChatPiece[], state: 'reasoning' | 'tagged', closing: string): boolean {
    const at = this.#held.indexOf(closing)
    if (at < 0) {
      if (state === 'tagged') return false
      const end = this.#held.length - undecided(this.#held, [closing])
      if (end > 0) pieces.push({ type: 'reasoning', text: this.#held.slice(0, end) })
      this.#held = this.#held.slice(end)
      return false
    }
    const inside = this.#held.slice(0, at)
    this.#held = this.#held.slice(at + closing.length)
    if (state === 'reasoning' && inside !== '') pieces.push({ type: 'reasoning', text: inside })
    if (state === 'tagged') {
      const calls = readCalls(inside)
      pieces.push(...(calls.length > 0 ? calls : [{ type: 'text', text: inside } as const]))
    }
    this.#state = 'text'
    this.#begun = false
    return true
  }
}

/** Length of the longest end of a text that begins one of the markers. */
function undecided(text: string, markers: readonly string[]): number {
  const longest = Math.max(...markers.map((marker) => marker.length)) - 1
  for (let length = Math.min(longest, text.length); length > 0; length--) {
    const end = text.slice(-length)
    if (markers.some((marker) => marker.startsWith(end))) return length
  }
  return 0
}

/** The calls that a text is, or none. */
function readCalls(text: string): ChatPiece[] {
  const named = /^\s*([\w.-]+)\s*(?:\[ARGS\])?\s*(\{[\s\S]*\})\s*$/.exec(text)
  if (named) {
    const parameters = parseObject(named[2]!)
    return parameters ? [{ type: 'toolCall', call: { name: named[1]!, arguments: parameters } }] : []
  }
  const values = parseAll(text)
  const calls = values.map(asCall)
  return calls.every((call) => call !== undefined)
    ? calls.map((call) => ({ type: 'toolCall', call: call as ToolCall }))
    : []
}

function asCall(value: unknown): ToolCall | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { name, arguments: given, parameters, function: inner } = value as Record<string, unknown>
  if (typeof inner === 'object' && inner !== null) return asCall(inner)
  const raw = given ?? parameters ?? {}
  const values = typeof raw === 'string' ? parseObject(raw) : raw
  if (typeof name !== 'string' || typeof values !== 'object' || values === null || Array.isArray(values))
    return undefined
  return { name, arguments: values as Record<string, unknown> }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  const value = parseJson(text)
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined
}

/** A value, the elements of an array, or values that semicolons separate (Llama 3.2). */
function parseAll(text: string): unknown[] {
  const whole = parseJson(text)
  if (whole !== undefined) return Array.isArray(whole) ? whole : [whole]
  const values: unknown[] = []
  let start = 0
  for (let at = text.indexOf(';'); ; at = text.indexOf(';', at + 1)) {
    const value = parseJson(text.slice(start, at < 0 ? undefined : at))
    if (value !== undefined) values.push(value)
    if (at < 0) return value === undefined ? [undefined] : values
    if (value !== undefined) start = at + 1
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
