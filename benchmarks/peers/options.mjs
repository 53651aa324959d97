import { parseArgs } from 'node:util'
import { contenders } from './contenders.mjs'
import { shapes } from './models/shapes.mjs'

const usage = `npm run bench peers -- [OPTIONS]
  --quick               GPT-2 only, one round, few repetitions
  --shapes NAMES        of ${Object.keys(shapes).join(', ')}; separated by commas
  --contenders NAMES    of those below, or the beginnings of their names; separated by commas
  --rounds N            how often each is measured
  --threads N           the processors this process may use, by default
  --json FILE           where results go, instead of benchmarks/results
contenders: ${contenders.map(({ name }) => name).join(', ')}`

/** Ends the process where help is asked for, and with the reason where an option is not understood. */
export function readOptions(argv) {
  if (argv.includes('--help')) {
    console.log(usage)
    process.exit(0)
  }
  try {
    return parse(argv)
  } catch (error) {
    console.error(`bench peers: ${error.message}\n${usage}`)
    process.exit(2)
  }
}

function parse(argv) {
  const text = { type: 'string' }
  const { values } = parseArgs({
    args: argv,
    options: {
      quick: { type: 'boolean', default: false },
      ...{ shapes: text, contenders: text, rounds: text, threads: text, json: text },
    },
  })
  const rounds = count('rounds', values.rounds)
  return {
    quick: values.quick,
    json: values.json,
    threads: count('threads', values.threads),
    effort: rounds === undefined ? {} : { rounds },
    shapes: chosen('shape', values.shapes ?? (values.quick ? 'gpt2' : undefined), Object.keys(shapes)),
    contenders: chosen(
      'contender',
      values.contenders,
      contenders.map(({ name }) => name),
    ),
  }
}

function count(name, text) {
  if (text === undefined) return undefined
  if (!/^[1-9]\d{0,2}$/.test(text)) throw new Error(`--${name} must be a number from 1 to 999, got ${text}`)
  return Number(text)
}

/** The known names that begin with one of those given; all where none is given. */
function chosen(kind, text, known) {
  if (text === undefined) return known
  const given = text.split(',')
  const unknown = given.find((start) => !known.some((name) => name.startsWith(start)))
  if (unknown !== undefined) throw new Error(`there is no ${kind} ${unknown}`)
  return known.filter((name) => given.some((start) => name.startsWith(start)))
}
