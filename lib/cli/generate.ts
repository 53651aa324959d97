import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import type { CompleteOptions, Constraint, LanguageModel } from '../language-model.js'
import type { ModelOptions, PromptOptions } from './model-options.js'
import {
  decimal,
  loadFrom,
  promptOf,
  wholeNumber,
  withModelOptions,
  withPromptOptions,
} from './model-options.js'
import { interruptible, printJson, UsageError } from './terminal.js'

interface Options extends ModelOptions, PromptOptions {
  maxTokens: number
  temperature: number
  topK: number
  typicalP: number
  topP: number
  minP: number
  repetitionPenalty: number
  presencePenalty: number
  frequencyPenalty: number
  seed?: number
  stop?: string[]
  texts?: number
  beams?: number
  logprobs?: number
  jsonSchema?: string
  regex?: string
  grammar?: string
  json?: boolean
}

const defaultPrompt = 'ROMEO:\n'

export function generateCommand(): Command {
  const command = new Command('generate').description('Continue a prompt.')
  return withPromptOptions(withModelOptions(command))
    .option('-n, --max-tokens <n>', 'tokens to generate at most', wholeNumber, 200)
    .option('-t, --temperature <t>', '0 takes the likeliest token each time', decimal, 0.8)
    .option('--top-k <k>', 'draw among the k likeliest; 0 for all', wholeNumber, 0)
    .option('--typical-p <p>', 'draw among the most typical that reach this probability', decimal, 1)
    .option('--top-p <p>', 'draw among the likeliest that reach this probability', decimal, 0.95)
    .option('--min-p <p>', 'draw among those this likely, compared with the likeliest', decimal, 0)
    .option('--repetition-penalty <f>', 'divides logits of tokens that were there before', decimal, 1)
    .option('--presence-penalty <x>', 'taken from logits of tokens in the text', decimal, 0)
    .option('--frequency-penalty <x>', 'the same, for each time a token is there', decimal, 0)
    .option('--seed <n>', 'decides the draws (default: a random one)', wholeNumber)
    .option('--stop <text...>', 'end before this text')
    .option('--texts <n>', 'make several texts of the prompt', wholeNumber)
    .option('--beams <n>', 'look for the likeliest text, keeping n at a time', wholeNumber)
    .option('--json-schema <file>', 'the text is JSON that this schema describes')
    .option('--regex <pattern>', 'the text is what this regular expression matches')
    .option('--grammar <file>', 'the text is of this EBNF grammar')
    .option('--logprobs <n>', 'with --json: tell so many alternatives to each token', wholeNumber)
    .option('--json', 'print one JSON object at the end')
    .action((options: Options) => interruptible((signal) => run(options, signal)))
}

async function run(options: Options, signal: AbortSignal): Promise<void> {
  const prompt = promptOf(options, defaultPrompt)
  const settings: CompleteOptions = {
    maxTokens: options.maxTokens,
    temperature: options.temperature,
    topK: options.topK,
    typicalP: options.typicalP,
    topP: options.topP,
    minP: options.minP,
    repetitionPenalty: options.repetitionPenalty,
    presencePenalty: options.presencePenalty,
    frequencyPenalty: options.frequencyPenalty,
    seed: options.seed,
    stop: options.stop,
    n: options.texts,
    beams: options.beams,
    logprobs: options.logprobs,
    constraint: constraintOf(options),
    signal,
  }
  const model = await loadFrom(options, signal)
  try {
    if (options.json) await printCompletion(model, prompt, settings)
    else if (options.texts !== undefined || options.beams !== undefined)
      await printTexts(model, prompt, settings)
    else if (model.info.hasTokenizer) await printText(model, prompt, settings)
    else await printIds(model, prompt, settings)
  } finally {
    await model.dispose()
  }
}

function constraintOf({ jsonSchema, regex, grammar }: Options): Constraint | undefined {
  const given = [jsonSchema, regex, grammar].filter((one) => one !== undefined)
  if (given.length > 1) throw new UsageError('--json-schema, --regex and --grammar cannot be given together')
  if (jsonSchema !== undefined) return { json: parseJson(jsonSchema) }
  if (regex !== undefined) return { regex }
  return grammar === undefined ? undefined : { grammar: readText(grammar) }
}

function parseJson(file: string) {
  try {
    return JSON.parse(readText(file))
  } catch (error) {
    if (error instanceof SyntaxError) throw new UsageError(`${file}: ${error.message}`)
    throw error
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${(error as Error).message}`)
  }
}

async function printCompletion(
  model: LanguageModel,
  prompt: string | number[],
  settings: CompleteOptions,
): Promise<void> {
  const { choices, usage } = await model.complete(prompt, settings)
  const shown = choices.map(({ pieces, ...choice }) =>
    settings.logprobs === undefined ? choice : { ...choice, tokens: pieces },
  )
  const { n, beams } = settings
  const several = n !== undefined || beams !== undefined
  printJson({ prompt, ...(several ? { choices: shown } : shown[0]), usage })
}

async function printTexts(
  model: LanguageModel,
  prompt: string | number[],
  settings: CompleteOptions,
): Promise<void> {
  const { choices } = await model.complete(prompt, settings)
  const show = ({ text, ids }: { text: string; ids: number[] }) =>
    model.info.hasTokenizer ? text : String(ids)
  for (const [i, choice] of choices.entries())
    process.stdout.write(`[${i + 1}] ${choice.logprob.toFixed(2)}\n${show(choice)}\n\n`)
}

async function printText(
  model: LanguageModel,
  prompt: string | number[],
  settings: CompleteOptions,
): Promise<void> {
  process.stdout.write(typeof prompt === 'string' ? prompt : await model.detokenize(prompt))
  try {
    for await (const piece of model.generate(prompt, settings)) process.stdout.write(piece.text)
  } finally {
    process.stdout.write('\n')
  }
}

async function printIds(
  model: LanguageModel,
  prompt: string | number[],
  settings: CompleteOptions,
): Promise<void> {
  process.stdout.write(String(prompt))
  try {
    for await (const piece of model.generate(prompt, settings)) process.stdout.write(`,${piece.id}`)
  } finally {
    process.stdout.write('\n')
  }
}
