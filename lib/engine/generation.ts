import { ContextFullError, invalidValue } from '../errors.js'
import type { Tokenizer } from '../tokenizer/index.js'
import type { Finished, FinishReason, GenerateRequest, Piece, Prompt } from './messages.js'
import type { ModelRunner } from './model-runner.js'
import { StopMatcher } from './stop-matcher.js'

/** What generation needs to know of the model. */
export interface GenerationContext {
  runner: ModelRunner
  tokenizer: Tokenizer | null
  vocabSize: number
  contextLength: number
  eosIds: ReadonlySet<number>
}

/** A prompt's ids, checked against vocabulary and context. */
export function promptIds(where: string, prompt: Prompt, context: GenerationContext): number[] {
  const ids = typeof prompt === 'string' ? encode(where, prompt, context) : prompt
  if (ids.length === 0) throw invalidValue(`${where}: prompt`, 'at least one token', 'none')
  for (const id of ids) {
    if (!(Number.isInteger(id) && id >= 0 && id < context.vocabSize))
      throw invalidValue(`${where}: prompt`, `ids from 0 to ${context.vocabSize - 1}`, id)
  }
  if (ids.length > context.contextLength) {
    throw new ContextFullError(
      `${where}: prompt must be at most ${context.contextLength} tokens, got ${ids.length}`,
    )
  }
  return ids
}

function encode(where: string, text: string, { tokenizer }: GenerationContext): number[] {
  if (!tokenizer)
    throw invalidValue(`${where}: prompt`, 'token ids, since the model has no tokenizer', 'text')
  return tokenizer.encode(text)
}

/** Continues one prompt; `emit` gets each token, the end token too, as soon as it is there. */
export async function generate(
  request: GenerateRequest,
  context: GenerationContext,
  arrivedAt: number,
  emit: (piece: Piece) => void,
): Promise<Finished> {
  const startedAt = performance.now()
  const ids = [...promptIds('generate', request.prompt, context)]
  const promptTokens = ids.length
  const text = new GeneratedText(request.stop, context.tokenizer, ids)
  const most = promptTokens + Math.min(request.maxTokens, context.contextLength + 1 - promptTokens)
  let finishReason: FinishReason | undefined
  const { sampling, flag } = request
  let sampled = [await context.runner.sample(ids, 0, sampling, flag)]
  const prefilledAt = performance.now()
  while (!finishReason) {
    for (const { id, logprob } of sampled) {
      ids.push(id)
      const ends = !request.ignoreEos && context.eosIds.has(id)
      const piece = text.push(id, ends || ids.length === most)
      if (ends || piece.stopped) finishReason = 'stop'
      else if (ids.length === most) finishReason = 'length'
      emit({ text: piece.text, id, logprob })
      if (finishReason) break // what ran ahead of the end is left
    }
    if (!finishReason) sampled = await context.runner.sampleAhead(ids, most - ids.length, sampling, flag)
  }
  const usage = {
    promptTokens,
    completionTokens: ids.length - promptTokens,
    queueMs: startedAt - arrivedAt,
    prefillMs: prefilledAt - startedAt,
    decodeMs: performance.now() - prefilledAt,
  }
  return { finishReason, usage }
}

/** Turns generated ids into text that is certain: whole characters, and no part of a stop string. */
class GeneratedText {
  readonly #stops: StopMatcher
  readonly #decoder: ReturnType<Tokenizer['streamDecoder']> | undefined

  constructor(stops: string[], tokenizer: Tokenizer | null, promptIds: number[]) {
    this.#stops = new StopMatcher(stops)
    this.#decoder = tokenizer?.streamDecoder({ after: promptIds })
  }

  /** The text that `id` makes certain; with the last id, all that was held back. */
  push(id: number, last: boolean): { text: string; stopped: boolean } {
    const decoded = this.#decoder?.push(id) ?? ''
    const { text, stopped } = this.#stops.push(last ? decoded + (this.#decoder?.flush() ?? '') : decoded)
    return { text: last && !stopped ? text + this.#stops.flush() : text, stopped }
  }
}
