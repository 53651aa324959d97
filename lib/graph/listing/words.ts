import type { Graph, Node, Value, ValueId } from '../graph.js'

/** What a node does, in words: `linear q|k|v (768 -> 2304) bias`, `attention layer 0, 12 heads of 64`. */
export function describeNode(node: Node, graph: Graph): string {
  const describe = Object.hasOwn(descriptions, node.op) ? descriptions[node.op] : undefined
  return describe ? describe(node, graph) : node.op
}

const descriptions: Record<string, (node: Node, graph: Graph) => string> = {
  embedding: (node, graph) => `embedding ${sizes(graph, node.inputs.weight)}`,
  linear,
  'layer-norm': norm,
  'rms-norm': norm,
  'rope-table': ropeTable,
  rope: ({ attributes: { heads, headSize, interleaved } }) =>
    list(`rope, ${heads} heads of ${headSize}`, interleaved === true && 'interleaved'),
  slice: ({ attributes: { start, size } }) => `slice ${start} to ${Number(start) + Number(size) - 1}`,
  activation: ({ inputs, attributes: { kind } }) => (inputs.up === undefined ? `${kind}` : `${kind}(x) * up`),
  scale: ({ attributes: { factor } }) => `scale by ${factor}`,
  softcap: ({ attributes: { cap } }) => `softcap ${cap}`,
  experts: ({ inputs, attributes: { chosen, activation } }, graph) =>
    `${chosen} of ${graph.values[inputs.gate!]!.stacked} experts, ${activation}(gate) * up`,
  attention,
  'kv-append': ({ inputs, attributes: { layer, interleaved } }) =>
    inputs.table === undefined
      ? `kv-append layer ${layer}`
      : list(`rope q, k + kv-append layer ${layer}`, interleaved === true && 'interleaved'),
}

function linear({ inputs, attributes: { activation, gated } }: Node, graph: Graph): string {
  const { shape, parts = [] } = graph.values[inputs.weight!]!
  const [O, K] = shape as [number, number]
  const words = ['linear']
  if (parts.length > 1) words.push(partNames(parts.map((part) => part.parameter)))
  words.push(gated ? `(${K} -> 2 x ${O / 2})` : `(${K} -> ${O})`)
  if (inputs.bias !== undefined) words.push('bias')
  return list(
    words.join(' '),
    gated ? `${activation}(gate) * up` : activation !== 'none' && `${activation}`,
    inputs.residual !== undefined && '+ residual',
  )
}

function norm({ op, inputs, outputs, attributes }: Node): string {
  return list(
    inputs.residual === undefined ? op : `residual + ${op}`,
    outputs.sum !== undefined && 'sum kept',
    inputs.weight === undefined && 'no weight',
    attributes.heads !== undefined && `of ${attributes.heads} heads`,
  )
}

function ropeTable({ attributes: { frequencies, magnitude } }: Node): string {
  const P = (frequencies as readonly number[]).length
  return list(
    `rope-table, ${P} frequenc${P === 1 ? 'y' : 'ies'}`,
    magnitude !== 1 && `magnitude ${magnitude}`,
  )
}

function attention({ inputs, attributes }: Node): string {
  const { layer, heads, kvHeads, headSize, scale, softcap, window } = attributes as Record<string, number>
  return list(
    `attention layer ${layer}, ${heads} heads of ${headSize}`,
    kvHeads !== heads && `${kvHeads} key/value heads`,
    Math.abs(scale! * Math.sqrt(headSize!) - 1) > 1e-6 && `scale ${scale}`,
    softcap !== 0 && `softcap ${softcap}`,
    window !== 0 && `window ${window}`,
    inputs.slopes !== undefined && 'ALiBi',
  )
}

/** The phrases that are there, comma-separated. */
function list(...phrases: (string | false)[]): string {
  return phrases.filter((phrase) => phrase !== false).join(', ')
}

/** `(50257 -> 768)`, an embedding's. */
function sizes(graph: Graph, id: ValueId | undefined): string {
  const { shape } = graph.values[id!] as Value
  return `(${shape.join(' -> ')})`
}

/** What tells merged parameters apart: `a.q_proj.weight`, `a.k_proj.weight` -> `q|k`. */
function partNames(parameters: readonly string[]): string {
  const split = parameters.map((parameter) => parameter.split('.'))
  const differing = split[0]!.findIndex((part, i) => split.some((parts) => parts[i] !== part))
  const names = split.map((parts) => parts[differing] ?? parts.join('.'))
  const [ending] = names[0]!.match(/_[^_]*$/) ?? ['']
  const shorten = names.every((name) => name.endsWith(ending) && name.length > ending.length)
  return names.map((name) => (shorten ? name.slice(0, name.length - ending.length) : name)).join('|')
}
