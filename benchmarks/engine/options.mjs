import { parseArgs } from 'node:util'

const types = ['f32', 'q8', 'q4']

const usage = `npm run bench engine -- [OPTIONS]
  --quick          one round, fewer tokens: two minutes on two free processors
  --types NAMES    of ${types.join(', ')}; separated by commas
  --rounds N       how often each is measured
  --alone          Kvasir alone
  --json FILE      where results go, instead of benchmarks/results`

/** Ends the process where help is asked for, and with the reason where an option is not understood. */
export function readOptions(argv) {
  if (argv.includes('--help')) {
    console.log(usage)
    process.exit(0)
  }
  try {
    return parse(argv)
  } catch (error) {
    console.error(`bench engine: ${error.message}\n${usage}`)
    process.exit(2)
  }
}

function parse(argv) {
  const [text, flag] = [{ type: 'string' }, { type: 'boolean', default: false }]
  const { values } = parseArgs({
    args: argv,
    options: { quick: flag, alone: flag, types: text, rounds: text, json: text },
  })
  const chosen = values.types?.split(',') ?? types
  const unknown = chosen.find((type) => !types.includes(type))
  if (unknown !== undefined) throw new Error(`there is no type ${unknown}`)
  if (values.rounds !== undefined && !/^[1-9]\d?$/.test(values.rounds))
    throw new Error(`--rounds must be a number from 1 to 99, got ${values.rounds}`)
  const effort = { ...efforts[values.quick ? 'quick' : 'full'] }
  if (values.rounds !== undefined) effort.rounds = Number(values.rounds)
  return { effort, types: chosen, alone: values.alone, json: values.json }
}

/** How much is done. */
const efforts = {
  full: { rounds: 3, decodeTokens: 48, arrivals: 2, aborts: 1, verifyTokens: 16 },
  quick: { rounds: 1, decodeTokens: 32, arrivals: 1, aborts: 1, verifyTokens: 8 },
}
