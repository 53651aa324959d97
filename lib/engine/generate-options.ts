import type { Constraint } from '../constraints/index.js'
import { checkConstraint } from '../constraints/index.js'
import { invalidType, invalidValue } from '../errors.js'
import type { Penalties } from './logit-edits.js'
import type { GenerateRequest, SamplingOptions } from './messages.js'
import { mostBiases } from './messages.js'

/** What every request may say about its place among others. */
export interface RequestOptions {
  /** Higher goes first; a whole number from -1000 to 1000, 0 by default. */
  priority?: number
  /** Milliseconds after which the call rejects with a `DeadlineError`. */
  timeoutMs?: number
  /**
   * Prompts that begin alike share what was computed for their beginnings, if their salts are the same ('' by default): a
   * server gives each of its users a salt so that none can tell from the time taken what others have asked.
   */
  cacheSalt?: string
  /** False: takes nothing that was computed for others, and leaves nothing to them. True by default. */
  reusePrefix?: boolean
  /** Stops the work within milliseconds; the call rejects with the signal's reason. */
  signal?: AbortSignal
}

export interface GenerateOptions extends RequestOptions {
  /** Tokens to generate at most, from 1; what the context holds, by default. */
  maxTokens?: number
  /**
   * 0 (the default) takes the likeliest token each time. Above, tokens are drawn from softmax(logits / temperature);
   * 1 is the model's own distribution. At most 1,000.
   */
  temperature?: number
  /** Draw among the `topK` likeliest only; 0 (the default) for all. */
  topK?: number
  /**
   * Draw among those whose surprise is nearest to the one expected and that together reach this probability (locally
   * typical sampling, Meister et al. 2023), above 0 and at most 1 (the default).
   */
  typicalP?: number
  /** Draw among the likeliest that together reach this probability, above 0 and at most 1 (the default). */
  topP?: number
  /** Draw among those at least `minP` times as likely as the likeliest, from 0 (the default) to 1. */
  minP?: number
  /** Whole number from 0 to 2^53 - 1 that decides the draws; a random one by default. Same seed, same tokens. */
  seed?: number
  /** Divides positive logits of tokens in the prompt or the text, multiplies negative ones; above 0, at most 100; 1 by default. */
  repetitionPenalty?: number
  /** Subtracted from the logit of each token in the text, from -100 to 100; 0 by default. */
  presencePenalty?: number
  /** Subtracted from the logit of each token for each time it is in the text, from -100 to 100; 0 by default. */
  frequencyPenalty?: number
  /** Added to the logits of tokens, by id; `-Infinity` bans one. At most 1,024 of them. */
  logitBias?: Readonly<Record<number, number>> | ReadonlyMap<number, number>
  /** Texts to make of the prompt, which is computed once, from 1 (the default) to 64; the i-th draws with `seed + i`. */
  n?: number
  /** How many of the likeliest tokens to tell in place of each, as `piece.top`, from 0 to 20. */
  logprobs?: number
  /** The same for the tokens of the prompt, as `completion.promptTokens`, whose own log probabilities are told, too. */
  promptLogprobs?: number
  /**
   * What the text must be: `{ json: schema }`, `{ regex }`, `{ grammar }` (EBNF) or `{ choices }`. Tokens that cannot
   * continue such a text are not chosen. A text that `maxTokens` cuts off is the beginning of one.
   */
  constraint?: Constraint
  /**
   * Guesses next tokens, from where the text's last ones stood before or with a draft model, and verifies several in one
   * step. The tokens are the same; where guessing does not gain it is left. True by default. Texts with a constraint,
   * penalties, `logitBias`, `typicalP` or `logprobs` are never guessed.
   */
  speculate?: boolean
  /** End before the first of these strings; they are not part of the text. */
  stop?: string | readonly string[]
  /** Go on after an end token, as benchmarks do. */
  ignoreEos?: boolean
}

export interface CompleteOptions extends GenerateOptions {
  /**
   * Texts that a beam search keeps, from 2 to 32: it looks for the text of greatest probability instead of drawing one.
   * The `n` best are the completion's choices.
   */
  beams?: number
}

const maxStops = 64
const mostSamples = 64
const mostBeams = 32
const mostTop = 20

/** Checks a generation's arguments and makes the engine's request of them. `where` begins the messages. */
export function generateRequest(
  where: string,
  prompt: string | readonly number[],
  options: CompleteOptions,
): Omit<GenerateRequest, 'id' | 'flag'> {
  checkOptions(where, options)
  checkInteger(`${where}: maxTokens`, options.maxTokens, 1, Number.MAX_SAFE_INTEGER)
  checkInteger(`${where}: n`, options.n, 1, mostSamples)
  checkInteger(`${where}: beams`, options.beams, 2, mostBeams)
  checkInteger(`${where}: logprobs`, options.logprobs, 0, mostTop)
  checkInteger(`${where}: promptLogprobs`, options.promptLogprobs, 0, mostTop)
  checkBoolean(`${where}: ignoreEos`, options.ignoreEos)
  checkBoolean(`${where}: speculate`, options.speculate)
  const { n = 1, beams = 0 } = options
  if (beams > 0 && (options.logprobs !== undefined || options.promptLogprobs !== undefined))
    throw invalidValue(
      `${where}: logprobs`,
      'left out where beams are given',
      options.logprobs ?? options.promptLogprobs,
    )
  if (beams > 0 && n > beams) throw invalidValue(`${where}: n`, `at most beams (${beams})`, n)
  return {
    type: 'generate',
    prompt: checkPrompt(where, prompt),
    maxTokens: options.maxTokens ?? Number.MAX_SAFE_INTEGER,
    stop: stopStrings(where, options.stop),
    ignoreEos: options.ignoreEos ?? false,
    keepsSpecial: false,
    sampling: samplingOptions(where, options),
    penalties: penaltiesOf(where, options),
    logitBias: logitBias(where, options.logitBias),
    samples: n,
    beams,
    top: options.logprobs,
    promptTop: options.promptLogprobs,
    constraint:
      options.constraint === undefined
        ? undefined
        : checkConstraint(`${where}: constraint`, options.constraint),
    speculates: options.speculate ?? true,
    ...placeOptions(where, options),
  }
}

/** Checks what every request may say; gives what the engine needs to know of it. */
export function placeOptions(
  where: string,
  options: RequestOptions,
): { priority: number; salt: string; reusesPrefix: boolean } {
  const { priority = 0, cacheSalt = '', reusePrefix = true } = options
  checkSignal(`${where}: signal`, options.signal)
  checkInteger(`${where}: priority`, priority, -1000, 1000)
  checkInteger(`${where}: timeoutMs`, options.timeoutMs, 0, 2 ** 31 - 1)
  checkBoolean(`${where}: reusePrefix`, reusePrefix)
  if (typeof cacheSalt !== 'string') throw invalidType(`${where}: cacheSalt`, 'a string', cacheSalt)
  if (cacheSalt.length > 1024)
    throw invalidValue(`${where}: cacheSalt`, 'at most 1024 characters', cacheSalt.length)
  return { priority, salt: cacheSalt, reusesPrefix: reusePrefix }
}

function samplingOptions(where: string, options: GenerateOptions): SamplingOptions {
  const { temperature = 0, topK = 0, typicalP = 1, topP = 1, minP = 0 } = options
  checkNumber(`${where}: temperature`, temperature, (t) => t >= 0 && t <= 1000, 'from 0 to 1000')
  checkInteger(`${where}: topK`, topK, 0, 2 ** 31 - 1)
  checkNumber(`${where}: typicalP`, typicalP, (p) => p > 0 && p <= 1, 'above 0 and at most 1')
  checkNumber(`${where}: topP`, topP, (p) => p > 0 && p <= 1, 'above 0 and at most 1')
  checkNumber(`${where}: minP`, minP, (p) => p >= 0 && p <= 1, 'from 0 to 1')
  checkInteger(`${where}: seed`, options.seed, 0, Number.MAX_SAFE_INTEGER)
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 53)
  return { temperature, topK, typicalP, topP, minP, seed: seedWords(seed) }
}

/** Low and high word of a whole number. */
export function seedWords(seed: number): [number, number] {
  return [seed | 0, Math.floor(seed / 2 ** 32) | 0]
}

function penaltiesOf(where: string, options: GenerateOptions): Penalties {
  const { repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0 } = options
  checkNumber(
    `${where}: repetitionPenalty`,
    repetitionPenalty,
    (f) => f > 0 && f <= 100,
    'above 0 and at most 100',
  )
  for (const [name, value] of Object.entries({ presencePenalty, frequencyPenalty }))
    checkNumber(`${where}: ${name}`, value, (x) => x >= -100 && x <= 100, 'from -100 to 100')
  return { repetition: repetitionPenalty, presence: presencePenalty, frequency: frequencyPenalty }
}

function logitBias(where: string, bias: GenerateOptions['logitBias']): [number, number][] {
  if (bias === undefined) return []
  if (bias === null || typeof bias !== 'object' || Array.isArray(bias))
    throw invalidType(`${where}: logitBias`, 'an object or a Map of numbers by token id', bias)
  const entries = bias instanceof Map ? [...bias] : Object.entries(bias)
  if (entries.length > mostBiases)
    throw invalidValue(`${where}: logitBias`, `at most ${mostBiases} tokens`, entries.length)
  return entries.map(([key, value]) => {
    const id = typeof key === 'string' && key !== '' ? Number(key) : key
    checkInteger(`${where}: logitBias`, id, 0, 2 ** 31 - 1)
    const holds = (x: number) => x === Number.NEGATIVE_INFINITY || (x >= -1e6 && x <= 1e6)
    checkNumber(`${where}: logitBias[${id}]`, value, holds, 'from -1e6 to 1e6 or -Infinity')
    return [id as number, value as number]
  })
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
export function checkPrompt(where: string, prompt: string | readonly number[]): string | number[] {
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

export function checkBoolean(where: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'boolean') throw invalidType(where, 'true or false', value)
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
