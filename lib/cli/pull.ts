import { Command } from 'commander'
import { pull } from '../hub/index.js'
import { interruptible, printJson, progressLine } from './terminal.js'

export function pullCommand(): Command {
  return new Command('pull')
    .description('Download a model from the hub to the usual cache folder, and print where it lies.')
    .argument('<name>', 'org/name, or org/name@revision')
    .option('--file <file>', 'a GGUF file of the model, instead of safetensors')
    .option('--json', 'print a JSON object')
    .action((name: string, options: { file?: string; json?: boolean }) =>
      interruptible(async (signal) => {
        const progress = progressLine('downloading')
        const path = await pull(name, { file: options.file, onProgress: progress.update, signal }).finally(
          progress.end,
        )
        if (options.json) printJson({ name, path })
        else process.stdout.write(`${path}\n`)
      }),
    )
}
