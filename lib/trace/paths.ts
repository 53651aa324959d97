import { invalidValue } from '../errors.js'
import type { Graph, Node, ValueId } from '../graph/graph.js'

/** What a path leads to: a module's result, or the weights of an attention. */
export type Target = { kind: 'result'; value: ValueId } | { kind: 'probabilities'; attention: Node }

/**
 * Everything in a recorded graph that can be looked at, by module path; of an attention its weights, `.probabilities`, and
 * the values that it mixed by them, `.mixed`, which its output projection reads. (The two halves of a gated feed-forward are
 * not among them, their product is.)
 */
export function targetsOf(graph: Graph): Map<string, Target> {
  const targets = new Map<string, Target>()
  const isComputed = new Set(graph.nodes.flatMap((node) => Object.values(node.outputs)))
  // A gate and what it gates are computed and multiplied by one kernel, and exist nowhere.
  for (const node of graph.nodes) {
    if (node.op !== 'activation' || node.inputs.up === undefined) continue
    for (const id of Object.values(node.inputs)) isComputed.delete(id)
  }
  for (const [path, value] of Object.entries(graph.results ?? {})) {
    const { shape, dtype } = graph.values[value]!
    if (path !== '' && isComputed.has(value) && shape.length === 2 && dtype !== 'i32')
      targets.set(path, { kind: 'result', value })
  }
  for (const node of graph.nodes) {
    if (node.op !== 'attention') continue
    targets.set(`${node.name}.probabilities`, { kind: 'probabilities', attention: node })
    targets.set(`${node.name}.mixed`, { kind: 'result', value: node.outputs.y! })
  }
  return targets
}

/**
 * The paths that patterns mean, in the graph's order: `*` stands for anything within one part of a path, `**` for any parts.
 *
 * @throws {RangeError} when a pattern means none, naming those that are nearest to it
 */
export function matchPaths(where: string, patterns: readonly string[], known: Iterable<string>): string[] {
  const paths = [...known]
  const found = new Set<string>()
  for (const pattern of patterns) {
    const expression = globExpression(pattern)
    const matches = paths.filter((path) => expression.test(path))
    if (matches.length === 0)
      throw invalidValue(
        where,
        `a path such as ${nearest(pattern, paths).join(', ') || 'none (there are none)'}`,
        pattern,
      )
    for (const path of matches) found.add(path)
  }
  return paths.filter((path) => found.has(path))
}

function globExpression(pattern: string): RegExp {
  const parts = pattern.split('.').map((part) => {
    if (part === '**') return '.+'
    return part.replace(/[\\^$+?()[\]{}|]/g, '\\$&').replaceAll('*', '[^.]*')
  })
  return new RegExp(`^${parts.join('\\.')}$`)
}

/** The few paths with the least to change. */
function nearest(pattern: string, paths: readonly string[]): string[] {
  const bounded = pattern.slice(0, 200)
  return paths
    .map((path) => ({ path, distance: editDistance(bounded, path) }))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ path }) => path)
}

/** Insertions, deletions and replacements that make one text the other (Levenshtein 1966). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row[b.length]!
}
