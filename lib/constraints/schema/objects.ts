import { overBudget, unsatisfiable, unsupported } from '../budget.js'
import { call, choice, empty, type Grammar, literal, nothing, Rule, repeat, sequence } from '../grammar.js'
import { anyJson, colon, comma, jsonLiteral } from './json-text.js'
import { at, below, has, type Leaf, type Place } from './place.js'
import { keysOutside, type PatternKeys, patternKeys } from './property-names.js'
import type { SchemaContext } from './schema-grammar.js'

/** A property that a schema names. */
interface Property {
  readonly name: string
  readonly isRequired: boolean
  readonly places: readonly Place[]
}

/** How many properties there may be. */
interface Count {
  readonly min: number
  readonly max: number
}

/** Variants of a property, one for each number of properties before it. */
const maxVariants = 50_000

/** Named properties in the order of the schema, those that need not be there or not, and then any others. */
export function objectGrammar(leaves: readonly Leaf[], context: SchemaContext): Grammar {
  const patterns = patternKeys(leaves, context.budget)
  const properties = propertiesOf(leaves, patterns)
  const others = otherMembers(leaves, patterns, properties, context)
  const count = countOf(leaves, properties, others)
  const where = at(leaves[0]?.pointer ?? '')
  if (properties.length * Math.max(2, numCounts(count)) > maxVariants)
    throw overBudget(where, `at most ${maxVariants} properties times what maxProperties allows`)
  const members = properties.map((property) => {
    const value = property.places.length === 0 ? anyJson.value : context.grammarOf(property.places)
    return call(new Rule(where, sequence(literal(jsonLiteral(property.name)), colon, value)))
  })
  return sequence(literal('{'), membersFrom(properties, members, others, count, where), literal('}'))
}

function propertiesOf(leaves: readonly Leaf[], patterns: readonly PatternKeys[]): Property[] {
  const required = new Set(leaves.flatMap((leaf) => (has(leaf, 'required') ? leaf.schema.required! : [])))
  const declared = leaves.flatMap((leaf) =>
    has(leaf, 'properties') ? Object.keys(leaf.schema.properties!) : [],
  )
  return [...new Set([...declared, ...required])].map((name) => ({
    name,
    isRequired: required.has(name),
    places: leaves.flatMap((leaf) => placesOf(name, leaf, patterns)),
  }))
}

/** What a leaf asks of a property. */
function placesOf(name: string, leaf: Leaf, patterns: readonly PatternKeys[]): Place[] {
  const places = patterns.filter((each) => each.leaf === leaf && each.has(name)).map(({ place }) => place)
  if (has(leaf, 'properties') && Object.hasOwn(leaf.schema.properties!, name))
    places.push(below(leaf, leaf.schema.properties![name]!, 'properties', name))
  return places.length === 0 ? additionalOf(leaf) : places
}

function additionalOf(leaf: Leaf): Place[] {
  return has(leaf, 'additionalProperties')
    ? [below(leaf, leaf.schema.additionalProperties!, 'additionalProperties')]
    : []
}

/** Members with other names, or `nothing`: where a schema says something about them, or names no property at all. */
function otherMembers(
  leaves: readonly Leaf[],
  patterns: readonly PatternKeys[],
  properties: readonly Property[],
  context: SchemaContext,
): Grammar {
  const names = properties.map(({ name }) => name)
  const matching = patterns.map((keys, i) => {
    const places = [keys.place, ...leaves.filter((leaf) => leaf !== keys.leaf).flatMap(additionalOf)]
    const rivals = patterns.filter((_, other) => other !== i)
    return member(keysOutside(keys, rivals, names, context.budget), context.grammarOf(places))
  })
  const places = leaves.flatMap(additionalOf)
  const isForbidden = places.some(({ schema }) => schema === false)
  const isMeant = places.length > 0 || (names.length === 0 && patterns.length === 0)
  const values = places.length === 0 ? anyJson.value : context.grammarOf(places)
  const rest =
    isForbidden || !isMeant ? nothing : member(keysOutside(null, patterns, names, context.budget), values)
  return choice(...matching, rest)
}

function member(key: Grammar, value: Grammar): Grammar {
  return sequence(key, colon, value)
}

function countOf(leaves: readonly Leaf[], properties: readonly Property[], others: Grammar): Count {
  const bounds = (keyword: 'minProperties' | 'maxProperties') =>
    leaves
      .filter((leaf) => has(leaf, keyword))
      .map(({ schema, pointer }) => ({ bound: schema[keyword]!, pointer }))
  const numRequired = properties.filter(({ isRequired }) => isRequired).length
  const most = bounds('maxProperties').map(({ bound }) => bound)
  const max = Math.min(Infinity, ...most)
  const lower = bounds('minProperties').toSorted((a, b) => b.bound - a.bound)[0]
  const min = lower === undefined || lower.bound <= numRequired ? 0 : lower.bound
  if (max < Math.max(min, numRequired))
    throw unsatisfiable(at(leaves[0]!.pointer), `maxProperties ${max} is less than there must be`)
  // A name that comes twice counts once, so that names that are not known cannot be counted on, but for one.
  if (min > properties.length + 1 || (min > properties.length && others === nothing)) {
    const where = at(`${lower!.pointer}/minProperties`)
    if (others === nothing) throw unsatisfiable(where, `there are only ${properties.length} properties`)
    throw unsupported(where, 'minProperties beyond the named properties and one more')
  }
  const isLoose = max >= properties.length && others === nothing
  return { min, max: isLoose ? Infinity : max }
}

/** Numbers of properties that make a difference to what may follow. */
function numCounts({ min, max }: Count): number {
  return max === Infinity ? Math.max(1, min) + 1 : max + 1
}

/** Members from the first property on, as rules that end with a call of the next, one for each count before it. */
function membersFrom(
  properties: readonly Property[],
  members: readonly Grammar[],
  others: Grammar,
  count: Count,
  where: string,
): Grammar {
  const last = numCounts(count) - 1
  const next = (done: number) => (count.max === Infinity ? Math.min(done + 1, last) : done + 1)
  let after = Array.from({ length: last + 1 }, (_, done) => otherMembersAfter(done, others, count))
  for (let i = properties.length - 1; i >= 0; i--) {
    const { isRequired } = properties[i]!
    // Names may be in the way of many counts: what follows each is a rule, so that it is there once.
    const rules = after.map((grammar) => (grammar === nothing ? nothing : call(new Rule(where, grammar))))
    after = rules.map((skipped, done) => {
      const following = done >= count.max ? nothing : rules[next(done)]!
      const separator = done === 0 ? empty : comma
      const present = sequence(separator, members[i]!, following)
      return isRequired ? present : choice(present, skipped)
    })
  }
  return after[0]!
}

function otherMembersAfter(done: number, others: Grammar, { min, max }: Count): Grammar {
  const missing = Math.max(0, min - done)
  const room = max - done
  if (missing > 1 || missing > room) return nothing
  const more = (from: number, to: number) => repeat(sequence(comma, others), from, to, { isDelimited: true })
  if (done > 0) return others === nothing ? (missing === 0 ? empty : nothing) : more(missing, room)
  const some = others === nothing || room === 0 ? nothing : sequence(others, more(0, room - 1))
  return choice(missing === 0 ? empty : nothing, some)
}
