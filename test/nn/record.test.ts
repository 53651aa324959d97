import { describe, expect, it } from 'vitest'
import type { Graph } from '#kvasir/graph/graph.js'
import {
  CausalLM,
  Embedding,
  gatherRows,
  Linear,
  Module,
  modelSpec,
  parameter,
  RMSNorm,
  record,
  repeat,
  type Step,
  type Tensor,
  TiedLinear,
} from '#kvasir/nn/index.js'

class Block extends Module<{ size: number }> {
  norm = new RMSNorm(this.config.size)
  inner = { proj: new Linear(this.config.size, this.config.size, { bias: false }) }

  forward(x: Tensor): Tensor {
    return x.add(this.inner.proj.forward(this.norm.forward(x)))
  }
}

class Model extends CausalLM<{ size: number }> {
  embed = new Embedding(7, this.config.size)
  blocks = repeat(2, () => new Block(this.config))
  head = new TiedLinear(this.embed)
  maxPositions = 16

  forward(step: Step): Tensor {
    let x = this.embed.forward(step.tokens)
    for (const block of this.blocks) x = block.forward(x)
    return this.head.forward(gatherRows(x, step.outputRows))
  }
}

const names = (graph: Graph) => graph.nodes.map(({ op, name }) => `${name} ${op}`)

describe('record', () => {
  it('names nodes and values after modules', () => {
    const graph = record(new Model({ size: 4 }))
    expect(names(graph)).toEqual([
      'embed embedding',
      'blocks.0.norm rms-norm',
      'blocks.0.inner.proj linear',
      'blocks.0 add',
      'blocks.1.norm rms-norm',
      'blocks.1.inner.proj linear',
      'blocks.1 add',
      ' gather-rows',
      'head linear',
    ])
    const logits = graph.values[graph.outputs.logits!]!
    expect(logits).toMatchObject({ name: 'head', shape: ['R', 7], kind: 'result' })
  })

  it('uses a tied parameter twice', () => {
    const { values, nodes } = record(new Model({ size: 4 }))
    const [first, last] = [nodes[0]!, nodes.at(-1)!]
    expect(first.inputs.weight).toBe(last.inputs.weight)
    expect(values.filter(({ kind }) => kind === 'weight').map(({ name }) => name)).toEqual([
      'embed.weight',
      'blocks.0.norm.weight',
      'blocks.0.inner.proj.weight',
      'blocks.1.norm.weight',
      'blocks.1.inner.proj.weight',
    ])
  })

  it('takes only the tables that the model reads', () => {
    const { values } = record(new Model({ size: 4 }))
    expect(values.filter(({ kind }) => kind === 'input').map(({ name }) => name)).toEqual([
      'tokens',
      'outputRows',
    ])
  })

  it('gives plain data, the same each time, and leaves the model as it was', () => {
    const model = new Model({ size: 4 })
    const [before, graph] = [Object.keys(model.blocks[0]!), record(model)]
    expect(structuredClone(graph)).toEqual(graph)
    expect(record(model)).toEqual(graph)
    expect(Object.keys(model.blocks[0]!)).toEqual(before)
    expect(Object.hasOwn(model.embed, 'forward')).toBe(false)
  })

  it('restores a forward that is a field, also when recording fails', () => {
    class Arrow extends Model {
      override forward = (step: Step): Tensor => {
        this.embed.forward(step.tokens)
        throw new Error('on purpose')
      }
    }
    const model = new Arrow({ size: 4 })
    const { forward } = model
    expect(() => record(model)).toThrow('on purpose')
    expect(model.forward).toBe(forward)
    expect(Object.hasOwn(model.embed, 'forward')).toBe(false)
  })

  it('names what one module does under two paths after the first', () => {
    class Shared extends Model {
      override blocks = Array<Block>(2).fill(new Block(this.config))
    }
    expect(names(record(new Shared({ size: 4 }))).slice(1, 7)).toEqual([
      'blocks.0.norm rms-norm',
      'blocks.0.inner.proj linear',
      'blocks.0 add',
      'blocks.0.norm rms-norm',
      'blocks.0.inner.proj linear',
      'blocks.0 add',
    ])
  })
})

describe('record refuses', () => {
  it('a parameter that is not used', () => {
    class Unused extends Model {
      extra = parameter([3])
      more = new Linear(2, 2)
    }
    expect(() => record(new Unused({ size: 4 }))).toThrow(
      'record: parameter extra must be used in forward, got no use (nor have 2 others)',
    )
  })

  it('a parameter that no field leads to', () => {
    class Foreign extends Model {
      override forward(step: Step): Tensor {
        return new Linear(4, 7).forward(gatherRows(this.embed.forward(step.tokens), step.outputRows))
      }
    }
    expect(() => record(new Foreign({ size: 4 }))).toThrow(
      "linear: weight must be a parameter that the model's fields lead to, got one made elsewhere",
    )
  })

  it('logits of all tokens', () => {
    class All extends Model {
      override forward(step: Step): Tensor {
        return this.head.forward(this.embed.forward(step.tokens))
      }
    }
    expect(() => record(new All({ size: 4 }))).toThrow(
      'forward: logits must be (R, V), the rows of gatherRows(x, step.outputRows), got (N, 7)',
    )
  })

  it('a forward that gives no tensor', () => {
    class Async extends Model {
      override forward = (async () => {}) as never
    }
    expect(() => record(new Async({ size: 4 }))).toThrow(
      'forward: its result must be a tensor of logits, got Promise',
    )
  })

  it('what is no model', () => {
    expect(() => record({} as never)).toThrow('record: model must be a CausalLM, got Object')
    expect(() => record(null as never)).toThrow('record: model must be a CausalLM, got null')
  })

  it('a tensor kept from another recording', () => {
    class Keeping extends Model {
      kept: Tensor | null = null
      override forward(step: Step): Tensor {
        this.kept ??= this.embed.forward(step.tokens)
        return this.head.forward(gatherRows(this.kept, step.outputRows))
      }
    }
    const model = new Keeping({ size: 4 })
    expect(() => record(model)).toThrow('parameter blocks.0')
    expect(() => record(model)).toThrow('gather-rows: rows must be of this recording, got one of another')
  })
})

describe('modelSpec', () => {
  it('has no layers of the cache for a model without attention', () => {
    const model = new Model({ size: 4 })
    expect(modelSpec(model, record(model))).toEqual({ vocabSize: 7, maxPositions: 16, layers: [] })
  })

  it.each([0, 1.5, 2 ** 24 + 1, undefined])('refuses maxPositions %s', (maxPositions) => {
    const model = new Model({ size: 4 })
    model.maxPositions = maxPositions as number
    expect(() => modelSpec(model, record(model))).toThrow('model: maxPositions must be')
  })
})
