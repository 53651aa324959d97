import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { describe, expect, it } from 'vitest'
import { compileConstraint } from '#kvasir/constraints/index.js'
import { ConstraintError } from '#kvasir/errors.js'
import { Random } from './random.js'
import { randomSchema } from './random-schemas.js'
import { realTrie, tinyTrie } from './vocabularies.js'
import { randomWalk } from './walks.js'

const numSchemas = 1000

describe('random schemas', () => {
  it(`every walk through ${numSchemas} of them parses and validates`, () => {
    const random = new Random(1)
    const ajv = new Ajv2020({ strict: false, logger: false })
    ;(addFormats as unknown as (ajv: Ajv2020) => void)(ajv)
    let numCompiled = 0
    const refused = new Map<string, number>()
    let [numComplete, numWalks] = [0, 0]
    while (numCompiled < numSchemas) {
      const schema = randomSchema(random)
      // Large vocabularies cost time; a small one makes as many different texts.
      const trie = numCompiled % 16 === 0 ? realTrie : tinyTrie
      const compiled = tryCompile(schema, trie, refused)
      if (compiled === null) continue
      numCompiled++
      const validate = ajv.compile(schema)
      for (let i = 0; i < 3; i++) {
        const { text, isComplete } = randomWalk(compiled, trie, random)
        numWalks++
        if (!isComplete) continue
        numComplete++
        const isValid = validate(JSON.parse(text))
        expect(isValid, `${text} under ${JSON.stringify(schema)}: ${ajv.errorsText(validate.errors)}`).toBe(
          true,
        )
      }
    }
    expect(numComplete / numWalks).toBeGreaterThan(0.98)
    // The generator asks for impossible and unsupported things now and then, and not only for those.
    expect(refused.get('ERR_UNSATISFIABLE') ?? 0).toBeLessThan(numSchemas / 5)
    expect(refused.get('ERR_UNSUPPORTED') ?? 0).toBeLessThan(numSchemas / 5)
    // Patterns together with lengths of hundreds of characters.
    expect(refused.get('ERR_BUDGET') ?? 0).toBeLessThan(numSchemas / 50)
  })
})

function tryCompile(schema: unknown, trie: typeof tinyTrie, refused: Map<string, number>) {
  try {
    return compileConstraint({ json: schema as boolean }, trie)
  } catch (error) {
    if (!(error instanceof ConstraintError)) throw error
    refused.set(error.code, (refused.get(error.code) ?? 0) + 1)
    return null
  }
}
