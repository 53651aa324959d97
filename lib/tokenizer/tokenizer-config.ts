import type { JsonObject } from './json-object.js'
import type { Vocabulary } from './vocabulary.js'

/** What `tokenizer_config.json` adds to `tokenizer.json`. */
export interface TokenizerConfig {
  bosId: number | null
  eosId: number | null
  /** Whether encoding adds the token; null leaves that to the post-processor. */
  addsBos: boolean | null
  addsEos: boolean | null
}

/** @param json null where the folder has no such file */
export function readTokenizerConfig(json: JsonObject | null, vocabulary: Vocabulary): TokenizerConfig {
  if (json === null) return { bosId: null, eosId: null, addsBos: null, addsEos: null }
  const config = {
    bosId: readTokenId(json, 'bos_token', vocabulary),
    eosId: readTokenId(json, 'eos_token', vocabulary),
    addsBos: json.optionalBoolean('add_bos_token'),
    addsEos: json.optionalBoolean('add_eos_token'),
  }
  if (config.addsBos && config.bosId === null)
    throw json.error('bos_token', 'a token, as add_bos_token is true')
  if (config.addsEos && config.eosId === null)
    throw json.error('eos_token', 'a token, as add_eos_token is true')
  return config
}

/** A token is given by its content, or by an object with its content and flags. */
function readTokenId(json: JsonObject, name: string, vocabulary: Vocabulary): number | null {
  const value = json.get(name)
  if (value === undefined) return null
  const content = typeof value === 'string' ? value : json.object(name).string('content')
  const id = vocabulary.idOf(content)
  if (id === undefined) throw json.error(name, 'a token of tokenizer.json', 'ERR_FILE_FORMAT', content)
  return id
}
