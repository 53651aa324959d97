import { invalidValue } from '../errors.js'
import type { ModelContext } from './generation.js'
import { promptIds } from './generation.js'
import type { LogitsRequest, NextToken, NextTokensRequest, Results } from './messages.js'
import { RowsTask } from './rows-task.js'
import { Sequence } from './sequence.js'

// Requests that are answered with rows of what the head gives: one, or one for each token.

/** 4 GiB. */
const mostLogits = 2 ** 30

interface RowsWork<R> {
  tasks: RowsTask[]
  answer(): R | undefined
}

export function nextTokens(request: NextTokensRequest, context: ModelContext): RowsWork<NextToken[]> {
  const { top, priority, salt, reusesPrefix } = request
  let best: NextToken[] | undefined
  const ids = promptIds('nextTokens', request.prompt, context)
  const task = new RowsTask(new Sequence(ids, { salt, reusesPrefix }), {
    kind: 'probabilities',
    everyRow: false,
    priority,
    onRow: (row) => {
      best = mostProbable(row, top, context)
    },
  })
  return { tasks: [task], answer: () => best }
}

export function logits(request: LogitsRequest, context: ModelContext): RowsWork<Results['logits']> {
  const { vocabSize: V } = context
  const ids = promptIds('logits', request.prompt, context)
  const most = Math.floor(mostLogits / V)
  if (ids.length > most) throw invalidValue('logits: prompt', `at most ${most} tokens`, ids.length)
  const data = new Float32Array(ids.length * V)
  const task = new RowsTask(new Sequence(ids, { reusesPrefix: false }), {
    kind: 'logits',
    everyRow: true,
    priority: request.priority,
    onRow: (row, position) => data.set(row, position * V),
  })
  return { tasks: [task], answer: () => (task.isDone ? { data, shape: [ids.length, V] } : undefined) }
}

/** The `top` largest entries in descending order, the lower id first among equals. */
function mostProbable(probabilities: Float32Array, top: number, { tokenizer }: ModelContext): NextToken[] {
  const order = Array.from(probabilities.keys())
  order.sort((a, b) => probabilities[b]! - probabilities[a]! || a - b)
  return order.slice(0, top).map((id) => {
    const probability = probabilities[id]!
    return { id, text: tokenizer?.display(id) ?? '', probability, logprob: Math.log(probability) }
  })
}
