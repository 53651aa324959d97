import { Command } from 'commander'
import type { GenerateOptions, LanguageModel } from '../language-model.js'
import type { ModelOptions, PromptOptions } from './model-options.js'
import {
  decimal,
  loadFrom,
  promptOf,
  wholeNumber,
  withModelOptions,
  withPromptOptions,
} from './model-options.js'
import { interruptible, printJson } from './terminal.js'

interface Options extends ModelOptions, PromptOptions {
  maxTokens: number
  temperature: number
  topK: number
  topP: number
  minP: number
  seed?: number
  stop?: string[]
  json?: boolean
}

const defaultPrompt = 'ROMEO:\n'

export function generateCommand(): Command {
  const command = new Command('generate').description('Continue a prompt.')
  return withPromptOptions(withModelOptions(command))
    .option('-n, --max-tokens <n>', 'tokens to generate at most', wholeNumber, 200)
    .option('-t, --temperature <t>', '0 takes the likeliest token each time', decimal, 0.8)
    .option('--top-k <k>', 'draw among the k likeliest; 0 for all', wholeNumber, 0)
    .option('--top-p <p>', 'draw among the likeliest that reach this probability', decimal, 0.95)
    .option('--min-p <p>', 'draw among those this likely, compared with the likeliest', decimal, 0)
    .option('--seed <n>', 'decides the draws (default: a random one)', wholeNumber)
    .option('--stop <text...>', 'end before this text')
    .option('--json', 'print one JSON object at the end')
    .action((options: Options) => interruptible((signal) => run(options, signal)))
}

async function run(options: Options, signal: AbortSignal): Promise<void> {
  const prompt = promptOf(options, defaultPrompt)
  const model = await loadFrom(options, signal)
  try {
    const { maxTokens, temperature, topK, topP, minP, seed, stop } = options
    const settings = { maxTokens, temperature, topK, topP, minP, seed, stop, signal }
    if (options.json) printJson({ prompt, ...(await model.complete(prompt, settings)) })
    else if (model.info.hasTokenizer) await printText(model, prompt, settings)
    else await printIds(model, prompt, settings)
  } finally {
    await model.dispose()
  }
}

async function printText(
  model: LanguageModel,
  prompt: string | number[],
  settings: GenerateOptions,
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
  settings: GenerateOptions,
): Promise<void> {
  process.stdout.write(String(prompt))
  try {
    for await (const piece of model.generate(prompt, settings)) process.stdout.write(`,${piece.id}`)
  } finally {
    process.stdout.write('\n')
  }
}
