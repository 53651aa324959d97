import { ByteSet } from './byte-set.js'
import { bytes, choice, type Grammar, sequence } from './grammar.js'

/** Code points from the first to the second, both included. */
export type CodePointRange = readonly [first: number, last: number]

export const maxCodePoint = 0x10ffff
/** Every character that text can have: code points but for surrogates. */
export const anyCharacter: readonly CodePointRange[] = [
  [0, 0xd7ff],
  [0xe000, maxCodePoint],
]

/** Ranges in ascending order that neither overlap nor touch, without surrogates. */
export function normalised(ranges: readonly CodePointRange[]): CodePointRange[] {
  const sorted = ranges.filter(([first, last]) => first <= last).toSorted((a, b) => a[0] - b[0])
  const merged: [number, number][] = []
  for (const [first, last] of sorted) {
    const previous = merged.at(-1)
    if (previous !== undefined && first <= previous[1] + 1) previous[1] = Math.max(previous[1], last)
    else merged.push([first, last])
  }
  return merged.flatMap(([first, last]): CodePointRange[] =>
    anyCharacter
      .map(([from, to]): CodePointRange => [Math.max(first, from), Math.min(last, to)])
      .filter(([from, to]) => from <= to),
  )
}

export function complement(ranges: readonly CodePointRange[]): CodePointRange[] {
  const gaps: [number, number][] = []
  let next = 0
  for (const [first, last] of normalised(ranges)) {
    gaps.push([next, first - 1])
    next = last + 1
  }
  gaps.push([next, maxCodePoint])
  return normalised(gaps)
}

export function intersection(a: readonly CodePointRange[], b: readonly CodePointRange[]): CodePointRange[] {
  return complement([...complement(a), ...complement(b)])
}

/** First and last code point of each length in UTF-8. */
const lengths: readonly CodePointRange[] = [
  [0, 0x7f],
  [0x80, 0x7ff],
  [0x800, 0xffff],
  [0x10000, maxCodePoint],
]

type ByteRange = readonly [first: number, last: number]

/** The UTF-8 of one character of some ranges. */
export function character(ranges: readonly CodePointRange[]): Grammar {
  const strings = normalised(ranges).flatMap(([first, last]) =>
    lengths.flatMap(([from, to], index) => {
      const range: CodePointRange = [Math.max(first, from), Math.min(last, to)]
      return range[0] > range[1] ? [] : byteStrings(range[0], range[1], index)
    }),
  )
  return choiceOf(strings)
}

/** Strings of byte ranges for code points of one length with `numTails` continuation bytes. */
function byteStrings(first: number, last: number, numTails: number): ByteRange[][] {
  if (numTails === 0) return [[[first, last]]]
  const low = (1 << (6 * numTails)) - 1 // what the continuation bytes hold
  if (first >> (6 * numTails) === last >> (6 * numTails)) {
    const byte = leadOf(first, numTails)
    return tailStrings(first & low, last & low, numTails).map((tail) => [[byte, byte], ...tail])
  }
  return splitAligned(first, last, low).flatMap(([from, to]) =>
    tailStrings(from & low, to & low, numTails).map((tail): ByteRange[] => [
      [leadOf(from, numTails), leadOf(to, numTails)],
      ...tail,
    ]),
  )
}

function leadOf(codePoint: number, numTails: number): number {
  return [0, 0xc0, 0xe0, 0xf0][numTails]! | (codePoint >> (6 * numTails))
}

/** Strings for the low bits of a range whose high bits are the same at both ends, or that is aligned. */
function tailStrings(first: number, last: number, numTails: number): ByteRange[][] {
  if (numTails === 1) return [[[0x80 | first, 0x80 | last]]]
  const low = (1 << (6 * (numTails - 1))) - 1
  const shift = 6 * (numTails - 1)
  const parts: readonly CodePointRange[] =
    first >> shift === last >> shift ? [[first, last]] : splitAligned(first, last, low)
  return parts.flatMap(([from, to]) =>
    tailStrings(from & low, to & low, numTails - 1).map((tail): ByteRange[] => [
      [0x80 | (from >> shift), 0x80 | (to >> shift)],
      ...tail,
    ]),
  )
}

/** Parts of a range whose low bits are all of 0 to `low`, and what is left at both ends. */
function splitAligned(first: number, last: number, low: number): CodePointRange[] {
  const from = (first & low) === 0 ? first : (first | low) + 1
  const to = (last & low) === low ? last : (last & ~low) - 1
  const parts: CodePointRange[] = [
    [first, from - 1],
    [from, to],
    [to + 1, last],
  ]
  return parts.filter(([a, b]) => a <= b)
}

/** One choice a first byte or range; strings that begin alike share their beginning. */
function choiceOf(strings: ByteRange[][]): Grammar {
  const ends = strings.filter((string) => string.length === 1)
  const lasts = ends.map(([range]) => ByteSet.range(range![0], range![1]))
  const options = lasts.length === 0 ? [] : [bytes(lasts.reduce((a, b) => a.union(b)))]
  const byHead = new Map<string, ByteRange[][]>()
  for (const string of strings.filter(({ length }) => length > 1))
    byHead.set(string[0]!.join(), [...(byHead.get(string[0]!.join()) ?? []), string])
  for (const group of byHead.values()) {
    const [first, last] = group[0]![0]!
    const tail = choiceOf(group.map((string) => string.slice(1)))
    options.push(sequence(bytes(ByteSet.range(first, last)), tail))
  }
  return choice(...options)
}
