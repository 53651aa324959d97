// What constraints cost beside a model's step: compiling, masks never seen before and remembered ones, and the mean of
// both over whole texts, which are led by the constraint as a model that knows what it wants would. The vocabulary is
// GPT-2's where shared/ is, else one of its size made of the repository's own.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { compileConstraint, TokenTrie } from '../dist/constraints/index.js'
import { loadTokenizer } from '../dist/tokenizer/index.js'
import { median, printTable } from './statistics.mjs'

const gpt2 = join(
  process.env.KVASIR_SHARED ?? join(import.meta.dirname ?? '.', '..', '..', 'shared'),
  'tokenizers/gpt2',
)

const person = {
  type: 'object',
  properties: {
    name: { type: 'string', maxLength: 60 },
    age: { type: 'integer', minimum: 0, maximum: 150 },
    email: { type: 'string', format: 'email' },
    born: { type: 'string', format: 'date' },
    biography: { type: 'string' },
    tags: { type: 'array', items: { enum: ['author', 'editor', 'reader'] }, maxItems: 3 },
    address: {
      type: 'object',
      properties: {
        street: { type: 'string' },
        city: { type: 'string' },
        code: { type: 'string', pattern: '^[0-9]{5}$' },
      },
      required: ['street', 'city'],
    },
    score: { type: 'number', minimum: 0, maximum: 1 },
  },
  required: ['name', 'age', 'biography', 'address'],
}
const someone = JSON.stringify({
  name: 'Ada Lovelace',
  age: 36,
  email: 'ada@example.org',
  born: '1815-12-10',
  biography:
    'Augusta Ada King, Countess of Lovelace, was an English mathematician and writer, chiefly known for her work on ' +
    'Charles Babbage\'s proposed mechanical general-purpose computer, the "Analytical Engine". She was the first to see ' +
    'that the machine had applications beyond pure calculation – naïve as it may have seemed.',
  tags: ['author', 'reader'],
  address: { street: "12 St James's Square", city: 'London', code: '10115' },
  score: 0.97,
})
const tree = JSON.stringify({
  menu: [1, 2.5, null, { open: true, items: ['New', 'Open', 'Close'], more: { deep: [[[]]] } }],
})
const arithmetic =
  'sum ::= product ([+-] product)*\nproduct ::= term ([*/] term)*\nterm ::= [0-9]+ | "(" sum ")"'
const countries = [
  'France',
  'Germany',
  'Finland',
  'Iceland',
  'Ireland',
  'Norway',
  'New Zealand',
  'Netherlands',
]

const cases = [
  ['JSON schema', { json: person }, someone],
  ['any JSON', { json: true }, tree],
  [
    'regex',
    { regex: '[A-Z][a-z]+( [A-Z][a-z]+)*, [0-9]{1,3} years, \\w{3,20}' },
    'Ada Byron King, 36 years, mathematician',
  ],
  ['grammar', { grammar: arithmetic }, '12*(3+4)-(5/(6+7))*1234567+(((8)))'],
  ['choices', { choices: countries }, 'New Zealand'],
]

export async function benchConstraints() {
  const { tokenizer, vocabulary } = await loadVocabulary()
  const start = performance.now()
  const trie = new TokenTrie(vocabulary)
  console.log(`${vocabulary.size} tokens, trie in ${(performance.now() - start).toFixed(0)} ms`)
  const head = [
    'constraint',
    'compile ms',
    'tokens',
    'masks of a first text, ms: median',
    'most',
    'warm mask us',
    'us a token: first text',
    'later',
  ]
  const rows = [head]
  for (const [name, constraint, text] of cases)
    rows.push(measure(name, constraint, tokenizer.encode(text), trie))
  printTable(rows)
  console.log('A step of a 124M model in q8 takes about 4 ms on two cores; 3 % of it are 120 us.')
}

async function loadVocabulary() {
  const folder = existsSync(gpt2) ? gpt2 : 'models/tiny-shakespeare'
  const tokenizer = await loadTokenizer(folder)
  return { tokenizer, vocabulary: { size: tokenizer.vocabSize, bytes: (id) => tokenizer.tokenBytes(id) } }
}

/** Several compilations, each with a first text, whose masks are new, and later ones. */
function measure(name, constraint, ids, trie) {
  const compile = []
  const first = []
  const later = []
  const cold = []
  let warm = []
  for (let round = 0; round < 9; round++) {
    const start = performance.now()
    const compiled = compileConstraint(constraint, trie)
    compile.push(performance.now() - start)
    const masks = run(compiled, ids, trie)
    cold.push(...masks.times)
    first.push((masks.total * 1000) / ids.length)
    for (let i = 0; i < 3; i++) {
      const again = run(compiled, ids, trie)
      warm = again.times
      later.push((again.total * 1000) / ids.length)
    }
  }
  return [
    name,
    median(compile).toFixed(2),
    ids.length,
    median(cold).toFixed(3),
    Math.max(...cold).toFixed(2),
    (median(warm) * 1000).toFixed(1),
    median(first).toFixed(1),
    median(later).toFixed(1),
  ]
}

/** Follows a text: for each token its mask, which must allow it, what is forced, and the step to the next. */
function run(compiled, ids, trie) {
  const words = new Int32Array(Math.ceil(trie.size / 32))
  const matcher = compiled.start()
  const times = []
  const start = performance.now()
  for (const id of ids) {
    const before = performance.now()
    matcher.mask(words)
    times.push(performance.now() - before)
    if (((words[id >> 5] >>> (id & 31)) & 1) === 0) throw new Error(`the mask does not allow token ${id}`)
    matcher.forcedTokens()
    matcher.advance(id)
  }
  const total = performance.now() - start
  if (!matcher.mayEnd) throw new Error('the text is not complete')
  return { times, total }
}
