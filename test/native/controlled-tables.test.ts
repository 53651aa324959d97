import { describe, expect, it } from 'vitest'
import type { Arrays } from './program-fixture.js'
import { controlledInputs, ProgramFixture, stepInputs } from './program-fixture.js'

const fixture = new ProgramFixture('controlled')
const program = fixture.compile()

function expectRefused(inputs: Arrays, code: string | RegExp, message?: RegExp): void {
  fixture.expectRefused(() => program.run(inputs, fixture.outputs(), null), code, message)
}

// What edits and masks must be is shown beside their kernel.
describe('the tables of all controls', () => {
  const own = Object.keys(controlledInputs()).filter((name) => !(name in stepInputs()))

  it.each(own)('%s must be there, of its type and of its length', (name) => {
    const { [name]: table, ...others } = controlledInputs()
    expectRefused(others, 'ERR_INVALID_ARG_TYPE', new RegExp(`${name} is missing`))
    const other = table instanceof Int32Array ? Float32Array.from(table) : Int32Array.from(table)
    expectRefused({ ...others, [name]: other }, 'ERR_DTYPE', new RegExp(name))
    const A = table.constructor as Int32ArrayConstructor
    for (const length of [0, table.length - 1, table.length + 1, 1000]) {
      const wrong = A.from({ length }, (_, i) => table[i] ?? 0)
      expectRefused({ ...others, [name]: wrong }, /VALUE|SHAPE/)
    }
  })

  it.each([NaN, 0, -0.5, 1.01, Infinity])('a typicalP of %d is refused', (p) => {
    const typicalP = Float32Array.of(1, p, 1)
    expectRefused({ ...controlledInputs(), typicalP }, /VALUE/, /typicalP\[1\] must be above 0/)
  })

  it.each([-2, 50, 2 ** 31 - 1, -(2 ** 31)])('a forced token %d is refused', (id) => {
    const forced = Int32Array.of(-1, -1, id)
    expectRefused({ ...controlledInputs(), forced }, /VALUE/, /forced\[2\] must be from -1 to 49/)
  })

  it.each([-1, 5])('a list of %d is refused', (count) => {
    const topCounts = Int32Array.of(count, 0, 0)
    expectRefused({ ...controlledInputs(), topCounts }, /VALUE/, /topCounts\[0\] must be from 0 to 4/)
  })

  it('come together, in the op that samples', () => {
    for (const name of ['adjusted', 'typicalP', 'forced']) {
      const graph = structuredClone(fixture.graph)
      delete graph.nodes.find(({ op }) => op === 'sample')!.inputs[name]
      fixture.expectRefused(() => fixture.compile(graph), /VALUE/, /must come together/)
    }
    expect(fixture.run(program).topIds).toHaveLength(12)
  })
})
