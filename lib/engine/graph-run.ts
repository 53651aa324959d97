import { invalidValue } from '../errors.js'
import type { ModelContext } from './generation.js'
import { promptIds } from './generation.js'
import type { GraphRequest, GraphResult } from './messages.js'
import type { ModelRunner } from './model-runner.js'
import type { Chunk, GraphKind, Step, Task } from './scheduler.js'
import { Sequence } from './sequence.js'

interface Output {
  /** As the graph has it: a row a token, or a row for each that is asked for, which is every one. */
  width: number
  data: Float32Array
}

const mostNumbers = 2 ** 30

/** A graph of the caller's that runs over a prompt. */
export class GraphRun implements Task {
  readonly sequence: Sequence
  readonly kind: GraphKind
  readonly priority: number
  readonly #runner: ModelRunner
  readonly #context: ModelContext
  readonly #outputs: Map<string, Output>
  /** Whether the graph computes rows that are asked for. */
  readonly #hasRows: boolean

  constructor(
    { id, prompt, graph, outputs, priority }: GraphRequest,
    context: ModelContext,
    runner: ModelRunner,
  ) {
    const ids = promptIds('graph', prompt, context)
    const shapes = outputs.map((name) => [name, graph.values[graph.outputs[name]!]!.shape] as const)
    const numbers = shapes.reduce((sum, [, shape]) => sum + ids.length * Number(shape[1] ?? 1), 0)
    if (numbers > mostNumbers)
      throw invalidValue('graph: outputs', `at most ${mostNumbers} numbers together`, numbers)
    this.sequence = new Sequence(ids, { reusesPrefix: false })
    this.kind = `graph ${id}`
    this.priority = priority
    this.#context = context
    this.#runner = runner
    this.#hasRows = shapes.some(([, shape]) => shape[0] === 'R')
    this.#outputs = new Map(
      shapes.map(([name, shape]) => {
        const width = Number(shape[1] ?? 1)
        return [name, { width, data: new Float32Array(ids.length * width) }]
      }),
    )
    runner.addGraph(this.kind, graph)
  }

  get waits(): boolean {
    return this.sequence.pending === 0
  }

  drafts(): readonly number[] {
    return []
  }

  rows(count: number): number {
    return this.#hasRows ? count : 0
  }

  /** Runs a step that is its own alone; false when the flag was raised on the way. */
  run(step: Step, flag: Int32Array | null): boolean {
    const { count } = step.chunks[0] as Chunk
    const start = this.sequence.computed
    const outputs = Object.fromEntries(
      Array.from(this.#outputs, ([name, { width, data }]) => [
        name,
        data.subarray(start * width, (start + count) * width),
      ]),
    )
    if (!this.#runner.runGraph(step, outputs, flag)) return false
    this.sequence.commit(start + count, this.#context.pool)
    this.#context.stats.count('promptTokens', count)
    return true
  }

  /** Undefined until all tokens are computed. */
  result(): GraphResult | undefined {
    if (!this.waits) return undefined
    const { ids } = this.sequence
    const { tokenizer } = this.#context
    const outputs = Array.from(this.#outputs, ([name, { width, data }]) => {
      const shape: [number, number] = [ids.length, width]
      return [name, { data, shape }] as const
    })
    return {
      ids: [...ids],
      tokens: ids.map((id) => tokenizer?.display(id) ?? String(id)),
      outputs: Object.fromEntries(outputs),
    }
  }

  dispose(): void {
    this.#runner.removeGraph(this.kind)
  }
}
