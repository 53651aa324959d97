import type { JsonSchema } from './json-schema.js'

/** What a completion may be. `json: true` is any JSON. */
export type Constraint =
  | { readonly json: JsonSchema | true }
  | { readonly regex: string }
  | { readonly grammar: string }
  | { readonly choices: readonly string[] }
