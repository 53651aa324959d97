#!/usr/bin/env node
import { createRequire } from 'node:module'
import { Command, CommanderError } from 'commander'
import { chatCommand } from './chat.js'
import { convertCommand } from './convert.js'
import { devicesCommand } from './devices.js'
import { generateCommand } from './generate.js'
import { inspectCommand } from './inspect.js'
import { nextCommand } from './next.js'
import { pullCommand } from './pull.js'
import { exitCodes, Interrupted, reportFailure, UsageError } from './terminal.js'
import { traceCommand } from './trace.js'

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string }

const program = new Command('kvasir')
  .description('Run transformer language models.')
  .version(version)
  .showHelpAfterError('(--help shows what there is)')
  .exitOverride()

const commands = [
  generateCommand(),
  chatCommand(),
  nextCommand(),
  inspectCommand(),
  traceCommand(),
  convertCommand(),
  pullCommand(),
  devicesCommand(),
]
for (const command of commands)
  program.addCommand(command.exitOverride().showHelpAfterError('(--help shows what there is)'))

// A reader that closes the pipe, such as `head`, has what it wanted.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? exitCodes.success : exitCodes.failure)
})

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? exitCodes.success : exitCodes.usage
  } else if (error instanceof Interrupted) {
    process.exitCode = exitCodes.interrupted
  } else {
    reportFailure(error)
    process.exitCode = error instanceof UsageError ? exitCodes.usage : exitCodes.failure
  }
}
