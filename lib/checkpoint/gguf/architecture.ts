import type { TensorEntry } from '../../native/addon.js'
import type { GgufMetadata } from './metadata.js'

/** What a GGUF file has beside its metadata. */
export interface GgufTensors {
  entries: ReadonlyMap<string, TensorEntry>
  /** The numbers of a small tensor of type F32. */
  floats(name: string): Float32Array
}

/** How the files of one `general.architecture` correspond to a family of models. */
export interface Architecture {
  /** What config.json would hold. */
  config(metadata: GgufMetadata, tensors: GgufTensors): Record<string, unknown>
  /** Parameters by the tensors' names, without their numbers and endings. */
  names: Record<string, string>
  /** Where the layers are: `blk.3.` is `layers.3.`. */
  layers: string
  layerNames: Record<string, string>
  /** Tensors that no parameter holds. */
  ignored: readonly string[]
  /** Parameters of layers whose rows rotate in pairs of neighbours, with the number of their heads. */
  paired: Record<string, (metadata: GgufMetadata) => number>
}

/** The rows of the embedding, whatever the metadata says of the vocabulary. */
export function vocabularySize(metadata: GgufMetadata, { entries }: GgufTensors): number {
  const rows = entries.get('token_embd.weight')?.shape[0]
  return rows ?? metadata.integer(`${metadata.architecture}.vocab_size`)
}
