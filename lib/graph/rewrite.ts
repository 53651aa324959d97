import type { Graph, Node, Value, ValueId } from './graph.js'

/** One place where a value is read: an input of `node`, or an output of the graph where `node` is null. */
export interface Use {
  node: Node | null
  name: string
}

/**
 * A copy of a graph that a pass changes, with an index of who makes and who reads each value.
 *
 * A pass replaces nodes by nodes whose outputs keep the ids of the values they stand for, so that readers need no
 * change. Nodes are never changed in place, and ids stay as they are until `finish`.
 */
export class GraphEditor {
  #values: Map<ValueId, Value>
  #nodes: Node[]
  #present = new Set<Node>()
  #outputs: Record<string, ValueId>
  #nextId: number
  #producers = new Map<ValueId, Node>()
  #uses = new Map<ValueId, Use[]>()

  constructor(graph: Graph) {
    this.#values = new Map(graph.values.map((value) => [value.id, value]))
    this.#nodes = [...graph.nodes]
    this.#outputs = { ...graph.outputs }
    this.#nextId = graph.values.length
    for (const node of this.#nodes) this.#addToIndex(node)
    this.#indexOutputs()
  }

  /** The nodes in order, of one op or all; those that are replaced while one iterates are left out. */
  *nodes(op?: string): Generator<Node> {
    for (const node of [...this.#nodes]) {
      if ((op === undefined || node.op === op) && this.#present.has(node)) yield node
    }
  }

  /** What the graph gives back, by name. */
  get outputs(): Readonly<Record<string, ValueId>> {
    return this.#outputs
  }

  set outputs(outputs: Readonly<Record<string, ValueId>>) {
    this.#dropUses(null, Object.values(this.#outputs))
    this.#outputs = { ...outputs }
    this.#indexOutputs()
  }

  values(): Iterable<Readonly<Value>> {
    return this.#values.values()
  }

  value(id: ValueId): Readonly<Value> {
    const value = this.#values.get(id)
    if (!value) throw new RangeError(`graph: value ${id} does not exist`)
    return value
  }

  /** The node that makes a value; undefined for inputs, weights, constants and an absent input. */
  producer(id: ValueId | undefined): Node | undefined {
    return id === undefined ? undefined : this.#producers.get(id)
  }

  uses(id: ValueId): readonly Use[] {
    return this.#uses.get(id) ?? []
  }

  /** Whether a value is read in one place of the whole graph. One that is an output as well is read in two. */
  usedOnce(id: ValueId): boolean {
    return this.uses(id).length === 1
  }

  /** Of some nodes, the one that stands first. */
  first(nodes: readonly Node[]): Node {
    return this.#nodes.find((node) => nodes.includes(node))!
  }

  addValue(value: Omit<Value, 'id'>): ValueId {
    const id = this.#nextId++
    this.#values.set(id, { ...value, id })
    return id
  }

  changeValue(id: ValueId, change: Partial<Omit<Value, 'id'>>): void {
    this.#values.set(id, { ...this.value(id), ...change })
  }

  /** Takes out the nodes `removed` and puts `added` where `place`, one of them, stood. */
  replace(removed: readonly Node[], place: Node, added: readonly Node[]): void {
    for (const node of removed) this.#removeFromIndex(node)
    for (const node of added) this.#addToIndex(node)
    this.#nodes = this.#nodes.flatMap((node) => {
      if (node === place) return added
      return removed.includes(node) ? [] : [node]
    })
  }

  /** Adds a node after all others. */
  append(node: Node): void {
    this.#addToIndex(node)
    this.#nodes.push(node)
  }

  /** The changed graph. Values that nothing mentions any more are dropped, the others numbered anew. */
  finish(): Graph {
    const mentioned = new Set(Object.values(this.#outputs))
    for (const node of this.#nodes) for (const id of mentionedBy(node)) mentioned.add(id)
    const kept = [...this.#values.values()].filter((value) => mentioned.has(value.id))
    const newIds = new Map(kept.map((value, id) => [value.id, id]))
    const renumbered = (ids: Record<string, ValueId>) =>
      Object.fromEntries(Object.entries(ids).map(([name, id]) => [name, newIds.get(id)!]))
    return {
      values: kept.map((value, id) => ({ ...value, id })),
      nodes: this.#nodes.map((node) => ({
        ...node,
        inputs: renumbered(node.inputs),
        outputs: renumbered(node.outputs),
      })),
      outputs: renumbered(this.#outputs),
    }
  }

  #addToIndex(node: Node): void {
    this.#present.add(node)
    for (const [name, id] of Object.entries(node.inputs)) this.#addUse(id, { node, name })
    for (const id of Object.values(node.outputs)) this.#producers.set(id, node)
  }

  #removeFromIndex(node: Node): void {
    this.#present.delete(node)
    this.#dropUses(node, Object.values(node.inputs))
    for (const id of Object.values(node.outputs)) this.#producers.delete(id)
  }

  #indexOutputs(): void {
    for (const [name, id] of Object.entries(this.#outputs)) this.#addUse(id, { node: null, name })
  }

  #addUse(id: ValueId, use: Use): void {
    const uses = this.#uses.get(id)
    if (uses) uses.push(use)
    else this.#uses.set(id, [use])
  }

  #dropUses(node: Node | null, ids: readonly ValueId[]): void {
    for (const id of ids) {
      const uses = this.#uses.get(id)
      if (uses)
        this.#uses.set(
          id,
          uses.filter((use) => use.node !== node),
        )
    }
  }
}

function mentionedBy(node: Node): ValueId[] {
  return [...Object.values(node.inputs), ...Object.values(node.outputs)]
}

/** The kv-append that fills the cache layer of an attention; undefined for one that is not lowered. */
export function appendOf(editor: GraphEditor, attention: Node): Node | undefined {
  for (const append of editor.nodes('kv-append')) {
    if (append.attributes.layer === attention.attributes.layer) return append
  }
  return undefined
}

/** Where a value lies: columns `start` to `start + size` of the rows of `root`, which is not itself a slice. */
export interface View {
  root: ValueId
  start: number
  size: number
}

/** Follows slices back to the value they are views of. */
export function viewOf(editor: GraphEditor, id: ValueId): View {
  const size = editor.value(id).shape[1]
  let start = 0
  let root = id
  for (let node = editor.producer(root); node?.op === 'slice'; node = editor.producer(root)) {
    start += node.attributes.start as number
    root = node.inputs.x!
  }
  return { root, start, size: typeof size === 'number' ? size : 0 }
}

/**
 * Whether a value can be overwritten by its one reader: it is computed, read in one place, and nothing else reads
 * the columns it lies in, be it through the whole that it is a slice of or through another slice.
 */
export function exclusivelyRead(editor: GraphEditor, id: ValueId): boolean {
  const own = viewOf(editor, id)
  return (
    editor.usedOnce(id) &&
    editor.value(own.root).kind === 'result' &&
    !readElsewhere(editor, own.root, 0, own, id)
  )
}

/** Whether columns of `own` are read through `id`, which starts at column `start` of their root, other than by `reader`. */
function readElsewhere(editor: GraphEditor, id: ValueId, start: number, own: View, reader: ValueId): boolean {
  if (id === reader) return false
  const size = editor.value(id).shape[1] as number
  if (start + size <= own.start || own.start + own.size <= start) return false
  return editor.uses(id).some(({ node }) => {
    if (node?.op !== 'slice') return true
    return readElsewhere(editor, node.outputs.y!, start + (node.attributes.start as number), own, reader)
  })
}
