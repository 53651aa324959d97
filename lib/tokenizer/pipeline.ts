import type { JsonObject } from './json-object.js'

/** Steps in one normalizer, pre-tokenizer, post-processor or decoder; real files have at most six. */
const maxSteps = 64

/**
 * The steps of a part of `tokenizer.json` in order: nested parts of type "Sequence" are taken apart.
 *
 * @param list the key that holds a sequence's steps, such as `normalizers`
 */
export function stepsOf(part: JsonObject | null, list: string): JsonObject[] {
  const steps: JsonObject[] = []
  if (part !== null) flatten(part, list, steps, 0)
  return steps
}

function flatten(part: JsonObject, list: string, steps: JsonObject[], depth: number): void {
  if (part.string('type') !== 'Sequence') {
    steps.push(part)
    return
  }
  const length = part.array(list).length
  if (depth === maxSteps || steps.length + length > maxSteps) {
    throw part.error(list, `at most ${maxSteps} steps, nested at most ${maxSteps} deep`)
  }
  for (const step of part.objects(list)) flatten(step, list, steps, depth + 1)
}
