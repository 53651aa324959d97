import { fromByteAlphabet } from './byte-alphabet.js'
import type { JsonObject } from './json-object.js'
import { readPattern, replaceMatches } from './pattern.js'
import { stepsOf } from './pipeline.js'

/**
 * Takes a stream of pieces, first of all the contents of tokens. A piece may come in several fragments;
 * `starts` marks its first one. A fragment never ends within a character.
 */
export interface PieceSink {
  write(fragment: string, starts: boolean): void
  /** No more pieces. */
  end(): void
}

/** One step of decoding: passes what it makes of its pieces on to the next. */
export type DecoderStage = (next: PieceSink) => PieceSink

export interface Decoder {
  stages: readonly DecoderStage[]
  /** How a token's content stands for bytes, if it does at all. */
  bytes: 'alphabet' | 'fallback' | null
}

interface StageReader {
  read(json: JsonObject): DecoderStage
  /** Whether it passes pieces on in fragments. */
  fragments?: true
  /** Whether it needs each piece whole. */
  needsWhole?: (json: JsonObject) => boolean
}

const always = () => true

const readers: Record<string, StageReader> = {
  ByteLevel: { read: () => byteLevelStage, fragments: true, needsWhole: always },
  ByteFallback: { read: () => byteFallbackStage, fragments: true, needsWhole: always },
  Fuse: { read: () => fuseStage, fragments: true },
  Metaspace: { read: readMetaspaceStage },
  Replace: { read: readReplaceStage, needsWhole: (json) => !replacesOneCharacter(json) },
  Strip: { read: readStripStage },
}

/** Reads the `decoder` of a `tokenizer.json`; null puts spaces between the tokens. */
export function readDecoder(json: JsonObject | null): Decoder {
  if (json === null) return { stages: [spaceStage], bytes: null }
  const stages: DecoderStage[] = []
  let bytes: Decoder['bytes'] = null
  let isFragmented = false
  for (const step of stepsOf(json, 'decoders')) {
    const type = step.choice('type', Object.keys(readers))
    const { read, fragments, needsWhole } = readers[type]!
    if (isFragmented && needsWhole?.(step)) {
      stages.push(gatherStage)
      isFragmented = false
    }
    if (fragments) isFragmented = true
    if (type === 'ByteLevel') bytes = 'alphabet'
    if (type === 'ByteFallback') bytes = 'fallback'
    stages.push(read(step))
  }
  return { stages, bytes }
}

/** Connects the stages of a decoder, in a fresh state, to where the text goes. */
export function connectDecoder(decoder: Decoder, sink: PieceSink): PieceSink {
  return decoder.stages.reduceRight((next, stage) => stage(next), sink)
}

const byteToken = /^<0x([0-9A-Fa-f]{2})>$/

/** The byte of a token such as "<0xE2>", or -1. */
export function byteOf(piece: string): number {
  const match = piece.length === 6 ? byteToken.exec(piece) : null
  return match === null ? -1 : Number.parseInt(match[1]!, 16)
}

function newUtf8Decoder() {
  return new TextDecoder('utf-8', { ignoreBOM: true })
}

/** Pieces in the byte alphabet, together the UTF-8 of a text; wrong bytes become U+FFFD. */
function byteLevelStage(next: PieceSink): PieceSink {
  const utf8 = newUtf8Decoder()
  let starts = true
  return {
    write(piece) {
      next.write(utf8.decode(fromByteAlphabet(piece), { stream: true }), starts)
      starts = false
    },
    end() {
      next.write(utf8.decode(), starts)
      next.end()
    },
  }
}

/** A run of byte tokens becomes one piece; wrong bytes become U+FFFD. Other pieces stay. */
function byteFallbackStage(next: PieceSink): PieceSink {
  const utf8 = newUtf8Decoder()
  let isRun = false
  const endRun = () => {
    if (isRun) next.write(utf8.decode(), false)
    isRun = false
  }
  return {
    write(piece) {
      const byte = byteOf(piece)
      if (byte < 0) {
        endRun()
        next.write(piece, true)
      } else {
        next.write(utf8.decode(Uint8Array.of(byte), { stream: true }), !isRun)
        isRun = true
      }
    },
    end() {
      endRun()
      next.end()
    },
  }
}

/** All pieces become one. */
function fuseStage(next: PieceSink): PieceSink {
  let starts = true
  return {
    write(fragment) {
      next.write(fragment, starts)
      starts = false
    },
    end: () => next.end(),
  }
}

/** Holds fragments back until their piece is whole. */
function gatherStage(next: PieceSink): PieceSink {
  let piece: string | null = null
  const finish = () => {
    if (piece !== null) next.write(piece, true)
  }
  return {
    write(fragment, starts) {
      if (starts) finish()
      piece = starts || piece === null ? fragment : piece + fragment
    },
    end() {
      finish()
      next.end()
    },
  }
}

/** Spaces between pieces. */
export function spaceStage(next: PieceSink): PieceSink {
  let isFirst = true
  return {
    write(fragment, starts) {
      next.write(starts && !isFirst ? ` ${fragment}` : fragment, starts)
      isFirst = false
    },
    end: () => next.end(),
  }
}

function readReplaceStage(json: JsonObject): DecoderStage {
  const pattern = readPattern(json, 'pattern')
  const content = json.string('content')
  return (next) => ({
    write: (text, starts) => next.write(replaceMatches(text, pattern, content), starts),
    end: () => next.end(),
  })
}

function replacesOneCharacter(json: JsonObject): boolean {
  const literal = json.object('pattern').optionalString('String')
  return literal !== null && [...literal].length === 1
}

/** The replacement character becomes a space; in the first piece it goes, unless nothing was prepended. */
function readMetaspaceStage(json: JsonObject): DecoderStage {
  const replacement = json.character('replacement')
  const fallback = json.boolean('add_prefix_space', true) ? 'always' : 'never'
  const scheme = json.choice('prepend_scheme', ['always', 'first', 'never'], fallback)
  return (next) => {
    let numPieces = 0
    return {
      write(fragment, starts) {
        if (starts) numPieces++
        const space = numPieces === 1 && scheme !== 'never' ? '' : ' '
        next.write(fragment.replaceAll(replacement, space), starts)
      },
      end: () => next.end(),
    }
  }
}

/** Takes up to `start` of a character from the front of each piece and up to `stop` from its end. */
function readStripStage(json: JsonObject): DecoderStage {
  const content = json.character('content')
  const start = json.integer('start', 0, maxStrip, 0)
  const stop = json.integer('stop', 0, maxStrip, 0)
  return (next) => {
    let numToSkip = 0
    // What may be the end of the piece: up to `stop` times the character.
    let held = ''
    return {
      write(fragment, starts) {
        if (starts) numToSkip = start
        let text = starts ? fragment : held + fragment
        while (numToSkip > 0 && text.startsWith(content)) {
          text = text.slice(content.length)
          numToSkip--
        }
        if (text !== '') numToSkip = 0
        let end = text.length
        const firstHeld = Math.max(0, text.length - stop * content.length)
        while (end > firstHeld && text.endsWith(content, end)) end -= content.length
        held = text.slice(end)
        next.write(text.slice(0, end), starts)
      },
      end: () => next.end(),
    }
  }
}

/** Real files strip one character. */
const maxStrip = 64
