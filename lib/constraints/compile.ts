import { isPrefixFree } from './automaton/dfa.js'
import { Machine } from './automaton/machine.js'
import { buildNfa } from './automaton/nfa.js'
import { prepare } from './automaton/program.js'
import { Budget } from './budget.js'
import { checkConstraint } from './check.js'
import type { Constraint } from './constraint.js'
import { parseGrammar } from './ebnf.js'
import { anyOf, type Grammar, Rule } from './grammar.js'
import { MaskMaker } from './mask-maker.js'
import { ConstraintMatcher } from './matcher.js'
import { wholeMatch } from './regex/to-grammar.js'
import { schemaRule } from './schema/schema-grammar.js'
import type { TokenTrie } from './token-trie.js'

/** A constraint joined with a vocabulary. Sequences share it; what it learns while they run, it remembers. */
export class CompiledConstraint {
  readonly #machine: Machine
  readonly #masks: MaskMaker
  readonly #trie: TokenTrie

  constructor(machine: Machine, trie: TokenTrie) {
    this.#machine = machine
    this.#masks = new MaskMaker(machine, trie)
    this.#trie = trie
  }

  /** A matcher before the first token. */
  start(): ConstraintMatcher {
    const parts = { machine: this.#machine, masks: this.#masks, trie: this.#trie }
    return new ConstraintMatcher(parts, this.#machine.start())
  }

  /** Bytes that it takes at present, about. */
  get sizeBytes(): number {
    const { program, table, numConfigurations } = this.#machine
    return (
      table.byteLength +
      this.#masks.sizeBytes +
      program.states.length * bytesPerState +
      numConfigurations * bytesPerConfiguration
    )
  }
}

/** Estimates for objects whose size JavaScript does not tell. */
const bytesPerState = 300
const bytesPerConfiguration = 400

/**
 * Compiles a constraint over a vocabulary.
 *
 * @throws ConstraintError where it is malformed, not supported, cannot be fulfilled or is too large, with the place:
 *   a JSON pointer into the schema, an offset in a regex or a grammar
 */
export function compileConstraint(constraint: Constraint, trie: TokenTrie): CompiledConstraint {
  const checked = checkConstraint('compileConstraint: constraint', constraint)
  const budget = new Budget()
  const nfa = buildNfa(startRule(checked, budget), {
    budget,
    isPrefixFree: (body, place) => isPrefixFree(body, budget, place),
  })
  return new CompiledConstraint(new Machine(prepare(nfa, trie.singleBytes)), trie)
}

function startRule(constraint: Constraint, budget: Budget): Rule {
  if ('grammar' in constraint) return parseGrammar('grammar', constraint.grammar)
  if ('json' in constraint) return schemaRule(constraint.json, budget)
  if ('regex' in constraint) return new Rule('regex', wholeMatch('regex', constraint.regex))
  return new Rule('choices', choicesGrammar(constraint.choices))
}

function choicesGrammar(choices: readonly string[]): Grammar {
  const utf8 = new TextEncoder()
  return anyOf(choices.map((choice) => utf8.encode(choice)))
}
