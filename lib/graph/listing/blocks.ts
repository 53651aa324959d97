import type { Graph, Node } from '../graph.js'

/** A module path, taken apart at the number of its layer: `h.0.attn.c_attn` is block `h.0` and rest `attn.c_attn`. */
export interface SplitPath {
  /** Undefined where the path has no number in it. */
  block: string | undefined
  rest: string
}

export function splitPath(path: string): SplitPath {
  const parts = path.split('.')
  const index = parts.findIndex((part) => /^\d+$/.test(part))
  if (index === -1) return { block: undefined, rest: path }
  return { block: parts.slice(0, index + 1).join('.'), rest: parts.slice(index + 1).join('.') }
}

/**
 * The nodes in order, except that those of no block that read no other node's result come first: a table that all
 * layers share would else cut through the layer that was first to ask for it.
 */
export function nodesByBlock(graph: Graph): Node[] {
  const isShared = ({ name, inputs }: Node) =>
    splitPath(name).block === undefined &&
    Object.values(inputs).every((id) => graph.values[id]!.kind !== 'result')
  return [...graph.nodes.filter(isShared), ...graph.nodes.filter((node) => !isShared(node))]
}

/** Neighbouring items of one block. */
export interface Run<T> {
  block: string | undefined
  items: T[]
}

export function groupByBlock<T>(items: readonly T[], blockOf: (item: T) => string | undefined): Run<T>[] {
  const runs: Run<T>[] = []
  for (const item of items) {
    const block = blockOf(item)
    const last = runs.at(-1)
    if (last && last.block === block) last.items.push(item)
    else runs.push({ block, items: [item] })
  }
  return runs
}

/** A run that stands for several alike. */
export interface FoldedRun<T> extends Run<T> {
  /** All blocks it stands for, the first being its own. */
  blocks: string[]
}

const longestPeriod = 8

/**
 * Folds runs of blocks that repeat, one after another or in turn (local and global attention, say): in a row of blocks
 * `A B A B A B` each of the two stands for three.
 */
export function foldRuns<T>(runs: readonly Run<T>[], signatureOf: (run: Run<T>) => string): FoldedRun<T>[] {
  const signatures = runs.map((run, i) => (run.block === undefined ? `#${i}` : signatureOf(run)))
  const folded: FoldedRun<T>[] = []
  for (let start = 0; start < runs.length; ) {
    const { period, times } = repetition(signatures, start)
    for (let i = start; i < start + period; i++) {
      const blocks = Array.from({ length: times }, (_, t) => runs[i + t * period]!.block ?? '')
      folded.push({ ...runs[i]!, blocks })
    }
    start += period * times
  }
  return folded
}

/** The shortest sequence from `start` on that comes again right after itself, and how many times it is there. */
function repetition(signatures: readonly string[], start: number): { period: number; times: number } {
  for (let period = 1; period <= longestPeriod; period++) {
    let end = start + period
    while (end < signatures.length && signatures[end] === signatures[end - period]) end++
    const times = Math.floor((end - start) / period)
    if (times > 1) return { period, times }
  }
  return { period: 1, times: 1 }
}
