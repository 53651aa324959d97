import type { ModelContext } from './generation.js'
import { promptIds } from './generation.js'
import type { EmbedRequest, Results } from './messages.js'
import { RowsTask } from './rows-task.js'
import { Sequence } from './sequence.js'

/** A request for a vector of each of several texts: what the head would read, of the last token or as a mean. */
export class Embedding {
  readonly tasks: RowsTask[]
  readonly #request: EmbedRequest
  readonly #width: number
  readonly #promptTokens: number
  /** Texts of which rows are still to come. */
  #left: number
  /** (texts, width); f64, so that means of long texts are exact enough. */
  readonly #sums: Float64Array

  constructor(request: EmbedRequest, context: ModelContext, width: number) {
    const texts = request.prompts.map((prompt) => promptIds('embed', prompt, context))
    this.#request = request
    this.#width = width
    this.#promptTokens = texts.reduce((sum, ids) => sum + ids.length, 0)
    this.#left = texts.length
    this.#sums = new Float64Array(texts.length * width)
    const everyRow = request.pooling === 'mean'
    this.tasks = texts.map((ids, i) => {
      const onRow = (row: Float32Array, position: number) => {
        this.#add(row, i, everyRow ? ids.length : 1)
        if (position === ids.length - 1) this.#left--
      }
      const { priority } = request
      const sequence = new Sequence(ids, { reusesPrefix: false })
      return new RowsTask(sequence, { kind: 'hidden', everyRow, priority, onRow })
    })
  }

  /** Undefined until all rows are there. */
  result(): Results['embed'] | undefined {
    if (this.#left > 0) return undefined
    const data = new Float32Array(this.#sums.length)
    for (let i = 0; i < this.tasks.length; i++) {
      const vector = this.#sums.subarray(i * this.#width, (i + 1) * this.#width)
      const length = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0))
      const divisor = this.#request.normalize && length > 0 ? length : 1
      for (const [j, x] of vector.entries()) data[i * this.#width + j] = x / divisor
    }
    return { data, shape: [this.tasks.length, this.#width], promptTokens: this.#promptTokens }
  }

  #add(row: Float32Array, text: number, count: number): void {
    const at = text * this.#width
    for (let j = 0; j < row.length; j++) this.#sums[at + j]! += row[j]! / count
  }
}
