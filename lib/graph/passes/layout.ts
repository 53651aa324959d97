import type { DType, Graph, ValueId, WeightLayout } from '../graph.js'
import { GraphEditor } from '../rewrite.js'

export interface LayoutOptions {
  /** How matrices are held: `auto` (the default) as the checkpoint holds them. */
  dtype?: 'auto' | 'f32' | 'f16' | 'bf16'
  /** The dtype that the checkpoint holds a parameter in; f32 for all where it is not given. */
  storedTypes?: (parameter: string) => DType
  /** How the device wants the matrices of linear layers: in panels (the CPU, the default) or in tiles (CUDA). */
  matrixLayout?: Exclude<WeightLayout, 'rows'>
}

/**
 * Chooses how each weight lies in memory: as the device's matrices where a linear layer reads it (an embedding reads
 * either), else row by row. Matrices get the dtype that `options` ask for; vectors stay f32.
 */
export function layout(graph: Graph, options: LayoutOptions = {}): Graph {
  const editor = new GraphEditor(graph)
  const ofLinear = weightsOf(graph, 'linear')
  const ofEmbedding = weightsOf(graph, 'embedding')
  for (const { id, kind, parts } of editor.values()) {
    if (kind !== 'weight') continue
    const isMatrix = ofLinear.has(id) || ofEmbedding.has(id)
    editor.changeValue(id, {
      layout: ofLinear.has(id) ? (options.matrixLayout ?? 'panels') : 'rows',
      dtype: isMatrix
        ? chooseType(
            (parts ?? []).map((part) => part.parameter),
            options,
          )
        : 'f32',
    })
  }
  return editor.finish()
}

function weightsOf(graph: Graph, op: string): Set<ValueId> {
  return new Set(graph.nodes.filter((node) => node.op === op).map((node) => node.inputs.weight!))
}

/** The asked dtype, or the one in which all of the parameters are stored. */
function chooseType(parameters: readonly string[], { dtype = 'auto', storedTypes }: LayoutOptions): DType {
  if (dtype !== 'auto') return dtype
  const stored = new Set(parameters.map((parameter) => storedTypes?.(parameter) ?? 'f32'))
  const [only = 'f32'] = stored
  return stored.size === 1 && only !== 'i32' ? only : 'f32'
}
