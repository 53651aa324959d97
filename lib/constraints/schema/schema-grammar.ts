import { ConstraintError } from '../../errors.js'
import { type Budget, overBudget, unsatisfiable, unsupported } from '../budget.js'
import { anyOf, call, choice, type Grammar, literal, nothing, Rule } from '../grammar.js'
import type { JsonSchema, JsonType, JsonValue } from '../json-schema.js'
import { arrayGrammar } from './arrays.js'
import { areDisjoint } from './disjoint.js'
import { anyJson, jsonLiteral } from './json-text.js'
import { numberGrammar } from './numbers.js'
import { objectGrammar } from './objects.js'
import { at, below, has, isBare, keyOf, type Leaf, leavesOf, type Place, placeOf } from './place.js'
import { stringGrammar } from './strings.js'
import { isOfType, typesOf } from './types.js'
import { valuesOf } from './values.js'

/** What the parts of a schema need of the whole. */
export interface SchemaContext {
  readonly root: JsonSchema
  readonly budget: Budget
  /** What fulfils all of some schemas. */
  grammarOf(places: readonly Place[]): Grammar
  /** Remembers why a part cannot be fulfilled, in case the whole cannot for that. */
  refuse(error: ConstraintError): Grammar
}

/** The JSON texts that a schema accepts, or rather those of them that are generated: see README. */
export function schemaRule(schema: JsonSchema, budget: Budget): Rule {
  return new SchemaCompiler(schema, budget).compile()
}

/** Conjunctions of schemas that one schema may lead to; `allOf` and `anyOf` multiply. */
const maxConjunctions = 20_000

class SchemaCompiler implements SchemaContext {
  readonly root: JsonSchema
  readonly budget: Budget
  readonly #rules = new Map<string, Rule>()
  readonly #pending: { rule: Rule; places: readonly Place[] }[] = []
  #reason: ConstraintError | null = null

  constructor(root: JsonSchema, budget: Budget) {
    this.root = root
    this.budget = budget
  }

  compile(): Rule {
    const start = new Rule('json', this.grammarOf([placeOf(this.root, '')]))
    for (let next = this.#pending.pop(); next !== undefined; next = this.#pending.pop()) {
      this.budget.checkTime(next.rule.place)
      next.rule.body = this.#read(next.places)
    }
    // Whether the whole is impossible for this reason, the automaton will tell.
    if (this.#reason !== null) start.place = this.#reason.message
    return start
  }

  grammarOf(places: readonly Place[]): Grammar {
    const key = [...new Set(places.map(keyOf))].sort().join(' & ')
    let rule = this.#rules.get(key)
    if (rule === undefined) {
      rule = new Rule(at(places[0]!.pointer))
      this.#rules.set(key, rule)
      if (this.#rules.size > maxConjunctions)
        throw overBudget(rule.place, `at most ${maxConjunctions} combinations of schemas`)
      this.#pending.push({ rule, places })
    }
    return call(rule)
  }

  refuse(error: ConstraintError): Grammar {
    this.#reason ??= error
    return nothing
  }

  #read(places: readonly Place[]): Grammar {
    try {
      const leaves = leavesOf(this.root, places)
      if (leaves === null) throw unsatisfiable(at(places[0]!.pointer), 'the schema false accepts nothing')
      if (leaves.length === 0) return anyJson.value
      return this.#readUnion(leaves) ?? this.#readLeaves(leaves)
    } catch (error) {
      if (error instanceof ConstraintError && error.code === 'ERR_UNSATISFIABLE') return this.refuse(error)
      throw error
    }
  }

  /** The first `anyOf` or `oneOf`, each of its options together with all the rest; null where there is none. */
  #readUnion(leaves: readonly Leaf[]): Grammar | null {
    const leaf = leaves.find((each) => has(each, 'anyOf') || has(each, 'oneOf'))
    if (leaf === undefined) return null
    const keyword = has(leaf, 'anyOf') ? 'anyOf' : 'oneOf'
    const rest = leaves
      .map((each): Leaf => (each === leaf ? { ...leaf, without: [...leaf.without, keyword] } : each))
      .filter((each) => !isBare(each))
    const options = leaf.schema[keyword]!.map((option, i) => [...rest, below(leaf, option, keyword, i)])
    if (
      keyword === 'oneOf' &&
      !areDisjoint(this.root, options, () => this.budget.checkTime(at(leaf.pointer)))
    )
      throw unsupported(
        at(`${leaf.pointer}/oneOf`),
        'oneOf whose options are not told apart by type, by const or enum, or by a required property with const or enum',
      )
    return choice(...options.map((places) => this.grammarOf(places)))
  }

  #readLeaves(leaves: readonly Leaf[]): Grammar {
    const types = typesOf(leaves)
    const values = valuesOf(leaves)
    if (values !== null) return this.#readValues(leaves, values, types)
    if (types.size === 0) throw unsatisfiable(at(leaves[0]!.pointer), 'its types have nothing in common')
    const options = [...types].map((type) => {
      try {
        return this.#readType(leaves, type)
      } catch (error) {
        // Another type may do.
        if (error instanceof ConstraintError && error.code === 'ERR_UNSATISFIABLE') return this.refuse(error)
        throw error
      }
    })
    return choice(...options)
  }

  #readValues(leaves: readonly Leaf[], values: readonly JsonValue[], types: ReadonlySet<JsonType>): Grammar {
    const fitting = values.filter((value) => [...types].some((type) => isOfType(value, type)))
    if (fitting.length === 0) throw unsatisfiable(at(leaves[0]!.pointer), 'none of its values fits')
    return anyOf(fitting.map(jsonLiteral))
  }

  #readType(leaves: readonly Leaf[], type: JsonType): Grammar {
    switch (type) {
      case 'null':
        return literal('null')
      case 'boolean':
        return choice(literal('true'), literal('false'))
      case 'integer':
      case 'number':
        return numberGrammar(leaves, type === 'integer', this.budget)
      case 'string':
        return stringGrammar(leaves, this.budget)
      case 'array':
        return arrayGrammar(leaves, this)
      case 'object':
        return objectGrammar(leaves, this)
    }
  }
}
