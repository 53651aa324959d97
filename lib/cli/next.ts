import { Command } from 'commander'
import type { NextToken } from '../language-model.js'
import type { ModelOptions, PromptOptions } from './model-options.js'
import { loadFrom, promptOf, wholeNumber, withModelOptions, withPromptOptions } from './model-options.js'
import { bar, interruptible, printJson } from './terminal.js'

interface Options extends ModelOptions, PromptOptions {
  top: number
  json?: boolean
}

const barWidth = 32

export function nextCommand(): Command {
  const command = new Command('next').description('Show the most probable next tokens.')
  return withPromptOptions(withModelOptions(command))
    .option('--top <n>', 'how many', wholeNumber, 10)
    .option('--json', 'print JSON')
    .action((options: Options) => interruptible((signal) => run(options, signal)))
}

async function run(options: Options, signal: AbortSignal): Promise<void> {
  const prompt = promptOf(options, 'O Romeo, Romeo! wherefore art thou')
  const model = await loadFrom(options, signal)
  try {
    const tokens = await model.nextTokens(prompt, { top: options.top, signal })
    if (options.json) printJson(tokens)
    else process.stdout.write(drawTokens(tokens))
  } finally {
    await model.dispose()
  }
}

/** One line a token: its text, its probability, and a bar that is as long as the likeliest is likely. */
export function drawTokens(tokens: readonly NextToken[]): string {
  const labels = tokens.map(({ text, id }) => text || String(id))
  const width = Math.max(...labels.map((label) => [...label].length))
  const most = tokens[0]?.probability ?? 1
  return tokens
    .map(({ probability }, i) => {
      const label = labels[i]! + ' '.repeat(width - [...labels[i]!].length)
      const percent = `${(probability * 100).toFixed(2)} %`.padStart(8)
      return `${label}  ${percent}  ${bar(probability / most, barWidth)}`.trimEnd()
    })
    .join('\n')
    .concat('\n')
}
