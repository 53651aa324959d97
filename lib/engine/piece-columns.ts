import type { Alternative, Piece } from './messages.js'

/** Pieces of many requests, in the order in which they came. Many small objects take five times as long to post. */
export interface PieceColumns {
  requests: number[]
  texts: string[]
  ids: number[]
  logprobs: number[]
  choices: number[]
  /** Left out where no piece has any. */
  tops?: (Alternative[] | undefined)[]
}

export function emptyColumns(): PieceColumns {
  return { requests: [], texts: [], ids: [], logprobs: [], choices: [] }
}

export function addPiece(
  columns: PieceColumns,
  request: number,
  { text, id, logprob, choice, top }: Piece,
): void {
  const at = columns.requests.push(request) - 1
  columns.texts.push(text)
  columns.ids.push(id)
  columns.logprobs.push(logprob)
  columns.choices.push(choice)
  if (!top) return
  columns.tops ??= []
  columns.tops[at] = top
}

/** The pieces of each request, in their order. */
export function piecesOf({
  requests,
  texts,
  ids,
  logprobs,
  choices,
  tops,
}: PieceColumns): Map<number, Piece[]> {
  const pieces = new Map<number, Piece[]>()
  for (let i = 0; i < requests.length; i++) {
    const piece: Piece = { text: texts[i]!, id: ids[i]!, logprob: logprobs[i]!, choice: choices[i]! }
    const top = tops?.[i]
    if (top) piece.top = top
    const before = pieces.get(requests[i]!)
    if (before) before.push(piece)
    else pieces.set(requests[i]!, [piece])
  }
  return pieces
}
