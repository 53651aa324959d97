import type { Constraint, FromSchema } from './constraints/index.js'
import type { FinishReason, Piece, PromptToken, Usage } from './engine/messages.js'

/** What a text under a constraint is: JSON of the schema's type, one of the choices, or text. */
export type ConstraintValue<C> = C extends { readonly json: infer S }
  ? FromSchema<S>
  : C extends { readonly choices: readonly (infer T)[] }
    ? T
    : string

/** A finished text. */
export interface Choice<C = unknown> {
  text: string
  /** Of a text under a constraint, once it is complete: JSON parsed, anything else as it is. */
  value: ConstraintValue<C> | undefined
  /** The generated ids, without the prompt's; the last one is the end token where that ended it. */
  ids: number[]
  /** `stop`: an end token, a stop string or the constraint's end; `length`: `maxTokens` or the context is used up. */
  finishReason: FinishReason
  /** Natural logarithm of the probability of its tokens, under the model. */
  logprob: number
  /** Its tokens, with the text that each made certain and the alternatives that `logprobs` asked for. */
  pieces: Piece[]
}

/** A finished generation: the first of its texts, and all of them. */
export interface Completion<C = unknown> extends Choice<C> {
  choices: Choice<C>[]
  usage: Usage
  /** Of the prompt's tokens but the first, where `promptLogprobs` asked for them. */
  promptTokens: PromptToken[] | undefined
}

/** A text that was cut off, or that a stop string ended within the JSON, has no value. */
export function constrainedValue<C extends Constraint | undefined>(
  constraint: C | undefined,
  text: string,
  finishReason: FinishReason,
): ConstraintValue<C> | undefined {
  if (constraint === undefined || finishReason !== 'stop') return undefined
  if (!('json' in constraint)) return text as ConstraintValue<C>
  try {
    return JSON.parse(text) as ConstraintValue<C>
  } catch {
    return undefined
  }
}
