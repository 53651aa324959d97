import { describe, expect, it } from 'vitest'
import {
  Embedding,
  LayerNorm,
  Linear,
  Module,
  parameter,
  parameters,
  repeat,
  TiedLinear,
} from '#kvasir/nn/index.js'

const paths = (module: Module<unknown>) => parameters(module).map(({ path }) => path)

describe("a module's tree", () => {
  it('has its fields in order, through arrays and plain objects', () => {
    class Model extends Module<{ width: number }> {
      wte = new Embedding(10, this.config.width)
      scale = parameter([3])
      h = repeat(2, () => ({ attn: { attention: new Linear(this.config.width, 5) }, ln: new LayerNorm(4) }))
      lists = [[new Linear(2, 3, { bias: false })]]
      act = (x: number) => x
      size = 12
      nothing = null
    }
    expect(parameters(new Model({ width: 4 }))).toEqual([
      { path: 'wte.weight', shape: [10, 4] },
      { path: 'scale', shape: [3] },
      { path: 'h.0.attn.attention.weight', shape: [5, 4] },
      { path: 'h.0.attn.attention.bias', shape: [5] },
      { path: 'h.0.ln.weight', shape: [4] },
      { path: 'h.0.ln.bias', shape: [4] },
      { path: 'h.1.attn.attention.weight', shape: [5, 4] },
      { path: 'h.1.attn.attention.bias', shape: [5] },
      { path: 'h.1.ln.weight', shape: [4] },
      { path: 'h.1.ln.bias', shape: [4] },
      { path: 'lists.0.0.weight', shape: [3, 2] },
    ])
  })

  it('has config before fields, and does not look into it or into private fields', () => {
    class Model extends Module<{ size: number; other: Module }> {
      #hidden = new LayerNorm(this.config.size)
      norm = new LayerNorm(this.config.size, { bias: false })
      used = () => this.#hidden
    }
    expect(paths(new Model({ size: 3, other: new LayerNorm(3) }))).toEqual(['norm.weight'])
  })

  it('lists what is reachable in two ways once, under the first path', () => {
    class Model extends Module {
      embed = new Embedding(5, 4)
      head = new TiedLinear(this.embed)
      again = this.embed
      weight = this.embed.weight
    }
    expect(paths(new Model({}))).toEqual(['embed.weight'])
  })

  it('may lead back to itself', () => {
    class Child extends Module<{ parent: Module<unknown> }> {
      parent = this.config.parent
      norm = new LayerNorm(2, { bias: false })
    }
    class Model extends Module {
      child = new Child({ parent: this })
      ring: Record<string, unknown> = {}
    }
    const model = new Model({})
    model.ring.ring = model.ring
    expect(paths(model)).toEqual(['child.norm.weight'])
  })

  it('cannot have two parameters of one path', () => {
    class Model extends Module {
      a = { 'b.weight': parameter([1]), b: { weight: parameter([1]) } }
    }
    expect(() => parameters(new Model({}))).toThrow(
      'model: a.b.weight must be one parameter, got two of that path',
    )
  })
})

describe('repeat', () => {
  it('hands over the index', () => {
    expect(repeat(3, (i) => i * i)).toEqual([0, 1, 4])
    expect(repeat(0, () => 1)).toEqual([])
  })

  it.each([1e9, -1, 1.5, Number.NaN])('does not make %s modules', (count) => {
    expect(() => repeat(count, () => ({}))).toThrow(
      `repeat: count must be an integer from 0 to 1024, got ${count}`,
    )
  })
})
