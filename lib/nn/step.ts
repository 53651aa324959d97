import type { StepInputName } from '../graph/graph.js'
import type { Recording } from '../graph/recording.js'
import { Tensor } from '../ops/tensor.js'

/**
 * The tables of one step, as `forward` sees them: N tokens of S sequences, concatenated without padding, of which the
 * logits of R rows are wanted. A model reads those it needs; the others are not part of its graph.
 */
export class Step {
  readonly recording: Recording

  constructor(recording: Recording) {
    this.recording = recording
  }

  /** (N) i32 token ids. */
  get tokens(): Tensor {
    return this.#table('tokens')
  }

  /** (N) i32 place of each token in its sequence, from 0. */
  get positions(): Tensor {
    return this.#table('positions')
  }

  /** (S+1) i32 first token of each sequence, and N. */
  get queryStarts(): Tensor {
    return this.#table('queryStarts')
  }

  /** (S) i32 length of each sequence, this step's tokens included. */
  get contextLengths(): Tensor {
    return this.#table('contextLengths')
  }

  /** (S,W) i32 blocks of the KV cache that hold each sequence. */
  get blockTables(): Tensor {
    return this.#table('blockTables')
  }

  /** (R) i32 tokens whose logits are wanted. */
  get outputRows(): Tensor {
    return this.#table('outputRows')
  }

  #table(name: StepInputName): Tensor {
    return Tensor.input(this.recording, name)
  }
}
