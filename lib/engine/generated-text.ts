import type { Tokenizer } from '../tokenizer/index.js'
import type { GenerateRequest } from './messages.js'
import { StopMatcher } from './stop-matcher.js'

/** Turns generated ids into text that is certain: whole characters, and no part of a stop string. */
export class GeneratedText {
  readonly #stops: StopMatcher
  readonly #decoder: ReturnType<Tokenizer['streamDecoder']> | undefined

  constructor(
    { stop, keepsSpecial, constraint }: Pick<GenerateRequest, 'stop' | 'keepsSpecial' | 'constraint'>,
    tokenizer: Tokenizer | null,
    promptIds: number[],
  ) {
    this.#stops = new StopMatcher(stop)
    this.#decoder = tokenizer?.streamDecoder({
      after: promptIds,
      keepSpecialTokens: keepsSpecial,
      within: constraint !== undefined,
    })
  }

  /** The text that `id` makes certain; with the last id, all that was held back. An end token has none. */
  push(id: number, { last, isEnd }: { last: boolean; isEnd: boolean }): { text: string; stopped: boolean } {
    const decoded = (isEnd ? '' : this.#decoder?.push(id)) ?? ''
    const { text, stopped } = this.#stops.push(last ? decoded + (this.#decoder?.flush() ?? '') : decoded)
    return { text: last && !stopped ? text + this.#stops.flush() : text, stopped }
  }
}
