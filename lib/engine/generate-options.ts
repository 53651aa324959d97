import { invalidType, invalidValue } from '../errors.js'
import type { GenerateRequest, Prompt, SamplingOptions } from './messages.js'

export interface GenerateOptions {
  /** Tokens to generate at most, from 1; what the context holds, by default. */
  maxTokens?: number
  /**
   * 0 (the default) takes the likeliest token each time. Above, tokens are drawn from softmax(logits / temperature);
   * 1 is the model's own distribution. At most 1,000.
   */
  temperature?: number
  /** Draw among the `topK` likeliest only; 0 (the default) for all. */
  topK?: number
  /** Draw among the likeliest that together reach this probability, above 0 and at most 1 (the default). */
  topP?: number
  /** Draw among those at least `minP` times as likely as the likeliest, from 0 (the default) to 1. */
  minP?: number
  /** Whole number from 0 to 2^53 - 1 that decides the draws; a random one by default. Same seed, same tokens. */
  seed?: number
  /** End before the first of these strings; they are not part of the text. */
  stop?: string | readonly string[]
  /** Go on after an end token, as benchmarks do. */
  ignoreEos?: boolean
  /** Stops the work within milliseconds; the call rejects with the signal's reason. */
  signal?: AbortSignal
}

const maxStops = 64

/** Checks a generation's arguments and makes the engine's request of them. `where` begins the messages. */
export function generateRequest(
  where: string,
  prompt: string | readonly number[],
  options: GenerateOptions,
): Omit<GenerateRequest, 'id' | 'flag'> {
  checkOptions(where, options)
  checkSignal(`${where}: signal`, options.signal)
  checkInteger(`${where}: maxTokens`, options.maxTokens, 1, Number.MAX_SAFE_INTEGER)
  if (options.ignoreEos !== undefined && typeof options.ignoreEos !== 'boolean')
    throw invalidType(`${where}: ignoreEos`, 'true or false', options.ignoreEos)
  return {
    type: 'generate',
    prompt: checkPrompt(where, prompt),
    maxTokens: options.maxTokens ?? Number.MAX_SAFE_INTEGER,
    stop: stopStrings(where, options.stop),
    ignoreEos: options.ignoreEos ?? false,
    sampling: samplingOptions(where, options),
  }
}

function samplingOptions(where: string, options: GenerateOptions): SamplingOptions {
  const { temperature = 0, topK = 0, topP = 1, minP = 0 } = options
  checkNumber(`${where}: temperature`, temperature, (t) => t >= 0 && t <= 1000, 'from 0 to 1000')
  checkInteger(`${where}: topK`, topK, 0, 2 ** 31 - 1)
  checkNumber(`${where}: topP`, topP, (p) => p > 0 && p <= 1, 'above 0 and at most 1')
  checkNumber(`${where}: minP`, minP, (p) => p >= 0 && p <= 1, 'from 0 to 1')
  checkInteger(`${where}: seed`, options.seed, 0, Number.MAX_SAFE_INTEGER)
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 53)
  return { temperature, topK, topP, minP, seed: [seed | 0, Math.floor(seed / 2 ** 32) | 0] }
}

function stopStrings(where: string, stop: string | readonly string[] | undefined): string[] {
  const stops = stop === undefined ? [] : typeof stop === 'string' ? [stop] : stop
  if (!Array.isArray(stops)) throw invalidType(`${where}: stop`, 'a string or an array of strings', stop)
  if (stops.length > maxStops)
    throw invalidValue(`${where}: stop`, `at most ${maxStops} strings`, stops.length)
  for (const text of stops) {
    if (typeof text !== 'string') throw invalidType(`${where}: stop`, 'a string or an array of strings', text)
    if (text === '') throw invalidValue(`${where}: stop`, 'strings that are not empty', text)
  }
  return [...stops]
}

/** A prompt as plain data: text, or an array of numbers. Ids are checked against the vocabulary by the engine. */
export function checkPrompt(where: string, prompt: string | readonly number[]): Prompt {
  if (typeof prompt === 'string') return prompt
  if (prompt === null || typeof prompt !== 'object' || !(Array.isArray(prompt) || ArrayBuffer.isView(prompt)))
    throw invalidType(`${where}: prompt`, 'a string or an array of token ids', prompt)
  const ids = Array.from(prompt as ArrayLike<number>)
  for (const id of ids) {
    if (typeof id !== 'number') throw invalidType(`${where}: prompt`, 'a string or an array of token ids', id)
  }
  return ids
}

export function checkOptions(where: string, options: unknown): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw invalidType(`${where}: options`, 'an object', options)
}

export function checkSignal(where: string, signal: unknown): void {
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw invalidType(where, 'an AbortSignal', signal)
}

export function checkInteger(where: string, value: unknown, least: number, most: number): void {
  if (value === undefined) return
  const range = `a whole number from ${least} to ${most}`
  checkNumber(where, value, (n) => Number.isInteger(n) && n >= least && n <= most, range)
}

export function checkChoice(where: string, value: unknown, choices: readonly string[]): void {
  if (value === undefined) return
  const expected = `one of ${choices.join(', ')}`
  if (typeof value !== 'string') throw invalidType(where, expected, value)
  if (!choices.includes(value)) throw invalidValue(where, expected, value)
}

function checkNumber(
  where: string,
  value: unknown,
  holds: (value: number) => boolean,
  expected: string,
): void {
  if (typeof value !== 'number') throw invalidType(where, expected, value)
  if (!holds(value)) throw invalidValue(where, expected, value)
}
