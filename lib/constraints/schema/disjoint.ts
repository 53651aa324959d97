import type { JsonSchema, JsonType } from '../json-schema.js'
import { below, has, type Leaf, leavesOf, type Place } from './place.js'
import { allowedTypes, allTypes, typesOf } from './types.js'
import { canonicalJson, valuesOf } from './values.js'

/** What can be told of an option without looking at its values. */
interface Traits {
  /** Types it allows, and those of them that are generated. */
  readonly allowed: ReadonlySet<JsonType>
  readonly generated: ReadonlySet<JsonType>
  /** The JSON of all its values, where they are listed. */
  readonly values: ReadonlySet<string> | null
  /** The same for its properties. */
  readonly properties: ReadonlyMap<string, ReadonlySet<string>>
  readonly required: ReadonlySet<string>
}

/** Whether what is generated for one option can be told never to fulfil another one. */
export function areDisjoint(
  root: JsonSchema,
  options: readonly (readonly Place[])[],
  checkTime: () => void,
): boolean {
  const search = { root, checkTime }
  const traits = options.map((places) => traitsOf(search, places, 0)).filter((each) => each !== null)
  return traits.every((a, i) => {
    checkTime()
    return traits.slice(i + 1).every((b) => isDisjoint(a, b))
  })
}

interface Search {
  readonly root: JsonSchema
  readonly checkTime: () => void
}

/** Unions in unions that are looked into; deeper ones may be anything. */
const maxUnions = 3

const anything: Traits = {
  allowed: new Set(allTypes),
  generated: new Set(allTypes),
  values: null,
  properties: new Map(),
  required: new Set(),
}

/** Null for an option that accepts nothing. */
function traitsOf(search: Search, places: readonly Place[], depth: number): Traits | null {
  search.checkTime()
  if (depth > maxUnions) return anything
  const leaves = leavesOf(search.root, places)
  if (leaves === null) return null
  const options = leaves.flatMap((leaf) => unionOf(leaf))
  const plain = leaves.map((leaf): Leaf => ({ ...leaf, without: [...leaf.without, 'anyOf', 'oneOf'] }))
  const inUnion =
    options.length === 0 ? null : options.map((option) => traitsOf(search, [...plain, option], depth + 1))
  return {
    allowed: inUnion === null ? allowedTypes(plain) : union(inUnion, 'allowed'),
    generated: inUnion === null ? typesOf(plain) : union(inUnion, 'generated'),
    values: inUnion === null ? listed(plain) : null,
    properties: discriminators(search.root, plain),
    required: new Set(plain.flatMap((leaf) => (has(leaf, 'required') ? leaf.schema.required! : []))),
  }
}

function unionOf(leaf: Leaf): Place[] {
  return (['anyOf', 'oneOf'] as const)
    .filter((keyword) => has(leaf, keyword))
    .slice(0, 1)
    .flatMap((keyword) => leaf.schema[keyword]!.map((option, i) => below(leaf, option, keyword, i)))
}

function union(options: readonly (Traits | null)[], key: 'allowed' | 'generated'): Set<JsonType> {
  return new Set(options.flatMap((option) => (option === null ? [] : [...option[key]])))
}

function listed(leaves: readonly Leaf[]): Set<string> | null {
  const values = valuesOf(leaves)
  return values === null ? null : new Set(values.map(canonicalJson))
}

function discriminators(root: JsonSchema, leaves: readonly Leaf[]): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  for (const leaf of leaves.filter((each) => has(each, 'properties'))) {
    for (const [name, schema] of Object.entries(leaf.schema.properties!)) {
      const own = leavesOf(root, [below(leaf, schema, 'properties', name)])
      const lists = own?.filter((each) => has(each, 'const') || has(each, 'enum')) ?? []
      // Only lists matter here: what else is asked of the property only makes them shorter.
      const values = listed(lists.map((each): Leaf => ({ ...each, without: onlyLists(each) })))
      if (values !== null) found.set(name, values)
    }
  }
  return found
}

function onlyLists(leaf: Leaf): string[] {
  return Object.keys(leaf.schema).filter((keyword) => keyword !== 'const' && keyword !== 'enum')
}

function isDisjoint(a: Traits, b: Traits): boolean {
  if (a.values !== null && b.values !== null && haveNothing(a.values, b.values)) return true
  if (haveNoType(a.generated, b.allowed) && haveNoType(b.generated, a.allowed)) return true
  const areObjects = [a, b].every(({ generated }) => [...generated].every((type) => type === 'object'))
  return (
    areObjects &&
    [...a.properties].some(([name, values]) => {
      const others = b.properties.get(name)
      const isThere = a.required.has(name) || b.required.has(name)
      return isThere && others !== undefined && haveNothing(values, others)
    })
  )
}

function haveNothing(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return [...a].every((value) => !b.has(value))
}

function haveNoType(a: ReadonlySet<JsonType>, b: ReadonlySet<JsonType>): boolean {
  const wide = (types: ReadonlySet<JsonType>) =>
    new Set([...types].map((type) => (type === 'integer' ? 'number' : type)))
  return haveNothing(wide(a), wide(b))
}
