import { eachMatch } from './pattern.js'

/** What becomes of the parts of a text that match a pattern (the names are the file format's). */
export const splitBehaviors = [
  'Removed',
  'Isolated',
  'MergedWithPrevious',
  'MergedWithNext',
  'Contiguous',
] as const

export type SplitBehavior = (typeof splitBehaviors)[number]

export interface SplitRule {
  /** null never matches. */
  pattern: RegExp | null
  behavior: SplitBehavior
  /** Whether the parts between the matches are what `behavior` is about. */
  invert?: boolean
}

interface Part {
  start: number
  end: number
  isMatch: boolean
}

/** Splits a text by a pattern; no piece is empty. */
export function splitText(text: string, { pattern, behavior, invert = false }: SplitRule): string[] {
  if (pattern === null) return [text]
  if (behavior === 'Isolated') return isolate(text, pattern)
  const parts = partsOf(text, pattern, invert)
  const kept = behavior === 'Removed' ? parts.filter((part) => !part.isMatch) : merge(parts, behavior)
  return kept.map((part) => text.slice(part.start, part.end))
}

function isolate(text: string, pattern: RegExp): string[] {
  const pieces: string[] = []
  let previous = 0
  eachMatch(text, pattern, (start, end) => {
    if (start > previous) pieces.push(text.slice(previous, start))
    if (end > start) pieces.push(text.slice(start, end))
    previous = end
  })
  if (previous < text.length) pieces.push(text.slice(previous))
  return pieces
}

function partsOf(text: string, pattern: RegExp, invert: boolean): Part[] {
  const parts: Part[] = []
  let previous = 0
  eachMatch(text, pattern, (start, end) => {
    if (start > previous) parts.push({ start: previous, end: start, isMatch: invert })
    if (end > start) parts.push({ start, end, isMatch: !invert })
    previous = end
  })
  if (previous < text.length) parts.push({ start: previous, end: text.length, isMatch: invert })
  return parts
}

function merge(parts: Part[], behavior: SplitBehavior): Part[] {
  const merged: Part[] = []
  for (const part of parts) {
    const last = merged.at(-1)
    if (last !== undefined && joins(last, part, behavior)) {
      last.end = part.end
      last.isMatch = part.isMatch
    } else {
      merged.push({ ...part })
    }
  }
  return merged
}

/** Whether a part belongs to the piece before it; a piece's `isMatch` is that of its last part. */
function joins(piece: Part, part: Part, behavior: SplitBehavior): boolean {
  if (behavior === 'Contiguous') return piece.isMatch === part.isMatch
  if (behavior === 'MergedWithPrevious') return part.isMatch && !piece.isMatch
  return piece.isMatch && !part.isMatch
}
