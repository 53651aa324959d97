import type { DType, FloatType, Graph, Node, ValueId, WeightLayout } from '../graph.js'
import { isBlocked } from '../graph.js'
import { GraphEditor } from '../rewrite.js'
import { endsTheStep } from './logits.js'

export interface LayoutOptions {
  /** How matrices are held: `auto` (the default) as the checkpoint holds them. */
  dtype?: 'auto' | Exclude<DType, 'i32'>
  /** The dtype that the checkpoint holds a parameter in; f32 for all where it is not given. */
  storedTypes?: (parameter: string) => DType
  /** The one type of numbers that the device's matrices have where they are not in blocks; any where it is not given. */
  floatType?: FloatType
  /** How the device wants the matrices of linear layers: in panels (the CPU, the default) or in tiles (CUDA). */
  matrixLayout?: Exclude<WeightLayout, 'rows'>
  /** A graph of the same model whose weights have their places already: these lie alike. */
  weightsLike?: Graph
}

/**
 * Chooses how each weight lies in memory: as the device's matrices where a linear layer reads it (an embedding reads
 * either), else row by row. Matrices get the dtype that `options` ask for; vectors stay f32.
 *
 * Where the types of blocks are asked for, what makes the logits and what holds the tokens' embeddings is q8, and tables
 * that are chosen from by anything else than tokens, such as learned positions, stay as they are stored.
 */
export function layout(graph: Graph, options: LayoutOptions = {}): Graph {
  const editor = new GraphEditor(graph)
  const linears = new Map([
    ...['gate', 'up', 'down'].flatMap((input) => [...readers(graph, 'experts', input)]),
    ...readers(graph, 'linear'),
  ])
  const embeddings = readers(graph, 'embedding')
  const known = new Map(options.weightsLike?.values.map((value) => [value.name, value]))
  for (const { id, kind, name, parts = [] } of editor.values()) {
    if (kind !== 'weight') continue
    const like = known.get(name)
    if (like?.kind === 'weight' && like.layout) {
      editor.changeValue(id, { layout: like.layout, dtype: like.dtype })
      continue
    }
    const parameters = parts.map((part) => part.parameter)
    const linear = linears.get(id)
    const embedding = embeddings.get(id)
    editor.changeValue(id, {
      layout: linear ? (options.matrixLayout ?? 'panels') : 'rows',
      dtype: linear || embedding ? chooseType(editor, parameters, linear, embedding, options) : 'f32',
    })
  }
  return editor.finish()
}

/** The nodes of an op by the weight that they read. */
function readers(graph: Graph, op: string, input = 'weight'): Map<ValueId, Node> {
  return new Map(graph.nodes.filter((node) => node.op === op).map((node) => [node.inputs[input]!, node]))
}

function chooseType(
  editor: GraphEditor,
  parameters: readonly string[],
  linear: Node | undefined,
  embedding: Node | undefined,
  { dtype = 'auto', storedTypes, floatType }: LayoutOptions,
): DType {
  const common = commonType(parameters.map((parameter) => storedTypes?.(parameter) ?? 'f32'))
  const stored = isBlocked(common) ? common : (floatType ?? common)
  if (dtype === 'auto') return stored
  if (!isBlocked(dtype)) return dtype
  if (embedding) return editor.value(embedding.inputs.ids!).name === 'tokens' ? 'q8' : stored
  return linear && endsTheStep(editor, linear.outputs.y!) ? 'q8' : dtype
}

/** The one type of parameters that are held together, or one that holds the numbers of all. */
function commonType(types: readonly DType[]): DType {
  const floats = new Set(types.filter((type): type is FloatType => !isBlocked(type) && type !== 'i32'))
  const [only = 'f32'] = floats
  if (floats.size > 0 || types.includes('i32') || types.length === 0) return floats.size > 1 ? 'f32' : only
  return types.includes('q8') ? 'q8' : 'q4'
}
