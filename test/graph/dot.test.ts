import { describe, expect, it } from 'vitest'
import { graphToDot } from '#kvasir/graph/dot.js'
import { optimize } from '#kvasir/graph/passes/index.js'
import { recordGpt2, recordLlama } from './families.js'
import { GraphBuilder } from './graph-builder.js'

const declared = (text: string) => [...text.matchAll(/^ +([nvo]\d+) \[/gm)].map(([, name]) => name)
const edges = (text: string) => [...text.matchAll(/^ +(\w+) -> (\w+)/gm)].map(([, from, to]) => [from, to])

describe('graphToDot', () => {
  it.each([
    ['a recorded LLaMA', recordLlama()],
    ['a fused LLaMA', optimize(recordLlama())],
    ['a fused GPT-2', optimize(recordGpt2())],
  ])('draws %s: every vertex once, edges between vertices, a box a layer', (_, graph) => {
    const text = graphToDot(graph)
    const vertices = declared(text)
    expect(new Set(vertices).size).toBe(vertices.length)
    const inputs = graph.values.filter(
      ({ kind, name }) => kind === 'input' && !/Starts|Lengths|Tables/.test(name),
    )
    expect(vertices).toHaveLength(graph.nodes.length + inputs.length + 1)
    for (const end of edges(text).flat()) expect(vertices).toContain(end)
    expect(text.match(/subgraph cluster_/g)).toHaveLength(3)
    expect(text.match(/[{]/g)).toHaveLength(text.match(/[}]/g)!.length)
  })

  it('leads through the cache', () => {
    const graph = optimize(recordGpt2({ numLayers: 1 }))
    const [append, attention] = ['kv-append', 'attention'].map((op) =>
      graph.nodes.findIndex((node) => node.op === op),
    )
    expect(graphToDot(graph)).toContain(`n${append} -> n${attention} [style=dashed, label="cache"]`)
  })

  it('quotes what would end a string', () => {
    const b = new GraphBuilder()
    const x = b.embedding('a "b" \\ c', b.input('tokens'), b.weight('w', [2, 3]))
    expect(graphToDot(b.finish({ x }))).toContain('label="a \\"b\\" \\\\ c\\nembedding (2 -> 3)\\n(N, 3)"')
  })
})
