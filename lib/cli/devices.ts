import { Command } from 'commander'
import { addon } from '../native/addon.js'
import { formatBytes, printJson } from './terminal.js'

export function devicesCommand(): Command {
  return new Command('devices')
    .description('Show what models can run on here.')
    .option('--json', 'print JSON')
    .action(({ json }: { json?: boolean }) => {
      const cpu = addon().cpuInfo()
      const isa = process.env.KVASIR_ISA || cpu.isas[0]
      if (json) return printJson([{ device: 'cpu', isa, ...cpu }])
      process.stdout.write(
        [
          `cpu   ${cpu.name}`,
          `      ${cpu.processors} processor${cpu.processors === 1 ? '' : 's'} for this process, ` +
            `${formatBytes(cpu.availableMemory)} of memory free`,
          `      instruction sets: ${cpu.isas.map((name) => (name === isa ? `${name} (used)` : name)).join(', ')}`,
          '',
        ].join('\n'),
      )
    })
}
