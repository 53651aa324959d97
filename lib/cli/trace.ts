import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import type { LanguageModel } from '../language-model.js'
import { traceHtml } from '../trace/html.js'
import type { Trace } from '../trace/index.js'
import { attentionSvg, lensSvg } from '../trace/svg.js'
import type { ModelOptions, PromptOptions } from './model-options.js'
import { loadFrom, promptOf, wholeNumber, withModelOptions, withPromptOptions } from './model-options.js'
import { interruptible, printJson, UsageError } from './terminal.js'

interface Options extends ModelOptions, PromptOptions {
  capture?: string[]
  attention?: string
  lens?: string
  html?: string
  top: number
  json?: boolean
}

const defaultPrompt = 'O Romeo, Romeo! wherefore art'

export function traceCommand(): Command {
  const command = new Command('trace').description('Look at what a model computes for a prompt.')
  return withPromptOptions(withModelOptions(command))
    .option('--attention <file>', "draw attention's weights, an SVG")
    .option('--lens <file>', 'draw what each layer expects next, an SVG')
    .option('--html <file>', 'both, in one page to point at')
    .option('--capture <path...>', 'module paths, such as "layers.*.mlp"; prints their shapes and sizes')
    .option('--top <n>', 'tokens that are told of each layer', wholeNumber, 5)
    .option('--json', 'print what was captured as a JSON object')
    .action((options: Options) => interruptible((signal) => run(options, signal)))
}

async function run(options: Options, signal: AbortSignal): Promise<void> {
  const { attention, lens, html, capture } = options
  if (!attention && !lens && !html && !capture)
    throw new UsageError('one of --attention, --lens, --html and --capture must be given')
  const prompt = promptOf(options, defaultPrompt)
  const model = await loadFrom(options, signal)
  try {
    const title = typeof prompt === 'string' ? prompt : `${prompt.length} tokens`
    const weights =
      attention || html ? await model.trace(prompt, { capture: ['**.probabilities'], signal }) : undefined
    const layers = lens || html ? await model.logitLens(prompt, { top: options.top, signal }) : undefined
    if (attention) write(attention, attentionSvg(weights!, title))
    if (lens) write(lens, lensSvg(layers!, title))
    if (html) write(html, traceHtml(title, weights!, layers!))
    if (capture) await printCaptured(model, prompt, options, signal)
  } finally {
    await model.dispose()
  }
}

function write(file: string, content: string): void {
  try {
    writeFileSync(file, content)
  } catch (error) {
    throw new UsageError(`${file} cannot be written: ${(error as Error).message}`)
  }
  process.stdout.write(`${file}\n`)
}

async function printCaptured(
  model: LanguageModel,
  prompt: string | number[],
  { capture = [], json }: Options,
  signal: AbortSignal,
): Promise<void> {
  const trace = await model.trace(prompt, { capture, signal })
  if (json) {
    const plain = Object.entries(trace.values).map(([path, { data, shape }]) => [
      path,
      { shape, data: [...data] },
    ])
    printJson({ ids: trace.ids, tokens: trace.tokens, values: Object.fromEntries(plain) })
    return
  }
  for (const line of summary(trace)) process.stdout.write(`${line}\n`)
}

/** A line a value: its path, shape, and the root of the mean square. */
function summary({ values }: Trace): string[] {
  const paths = Object.keys(values)
  const width = Math.max(...paths.map((path) => path.length))
  return paths.map((path) => {
    const { data, shape } = values[path]!
    const size = Math.sqrt(data.reduce((sum, x) => sum + x * x, 0) / Math.max(1, data.length))
    const name = `${path.padEnd(width)}  (${shape.join(', ')})`
    return `${name.padEnd(width + 24)}rms ${size.toPrecision(4)}`
  })
}
