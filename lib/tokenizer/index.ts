export { loadTokenizer } from './load.js'
export type { StreamDecoder } from './stream-decoder.js'
export { encodeWithin } from './token-bytes.js'
export type { DecodeOptions, EncodeOptions, StreamDecodeOptions, Tokenizer } from './tokenizer.js'
