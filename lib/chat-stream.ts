import type { ChatPiece, ToolCall } from './chat/index.js'
import { AnswerParser } from './chat/index.js'
import type { Finished, FinishReason, Piece, Usage } from './engine/messages.js'

/** A finished answer. */
export interface ChatAnswer {
  text: string
  /** What the model thought before it answered; '' where it did not. */
  reasoning: string
  toolCalls: ToolCall[]
  /** `toolCalls` where it waits for the results of tools. */
  finishReason: FinishReason | 'toolCalls'
  usage: Usage
}

/**
 * An answer that comes piece by piece. Work begins when it is read: in a loop, which yields the pieces and may be left at any
 * time, or by `answer()`, which gives all of it.
 */
export class ChatStream implements AsyncIterable<ChatPiece> {
  readonly #pieces: AsyncGenerator<ChatPiece, ChatAnswer, void>
  #answer: ChatAnswer | undefined

  /** @internal */
  constructor(
    start: () => Promise<{ thinks: boolean; pieces: AsyncGenerator<Piece, Finished, void> }>,
    expectsCalls: boolean,
  ) {
    this.#pieces = takeApart(start, expectsCalls)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ChatPiece, void, void> {
    try {
      for (;;) {
        const next = await this.#pieces.next()
        if (next.done) {
          this.#answer ??= next.value
          return
        }
        yield next.value
      }
    } finally {
      if (!this.#answer) await this.#pieces.return(undefined as never)
    }
  }

  /** The whole answer, what was read of it already included. */
  async answer(): Promise<ChatAnswer> {
    for await (const _ of this) {
      // reads on
    }
    return this.#answer!
  }
}

async function* takeApart(
  start: () => Promise<{ thinks: boolean; pieces: AsyncGenerator<Piece, Finished, void> }>,
  expectsCalls: boolean,
): AsyncGenerator<ChatPiece, ChatAnswer, void> {
  const { thinks, pieces } = await start()
  const parser = new AnswerParser({ thinks, expectsCalls })
  const answer = { text: '', reasoning: '', toolCalls: [] as ToolCall[] }
  const note = (piece: ChatPiece) => {
    if (piece.type === 'toolCall') answer.toolCalls.push(piece.call)
    else answer[piece.type] += piece.text
    return piece
  }
  let finished: Finished | undefined
  try {
    while (!finished) {
      const next = await pieces.next()
      if (next.done) finished = next.value
      else for (const piece of parser.push(next.value.text)) yield note(piece)
    }
  } finally {
    if (!finished) await pieces.return(undefined as never)
  }
  for (const piece of parser.end()) yield note(piece)
  const finishReason = answer.toolCalls.length > 0 ? 'toolCalls' : finished.choices[0]!.finishReason
  return { ...answer, finishReason, usage: finished.usage }
}
