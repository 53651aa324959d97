import { Command } from 'commander'
import type { CpuInfo, CudaInfo } from '../native/addon.js'
import { addon, cudaModule } from '../native/addon.js'
import { formatBytes, printJson } from './terminal.js'

export function devicesCommand(): Command {
  return new Command('devices')
    .description('Show what models can run on here.')
    .option('--json', 'print JSON')
    .action(({ json }: { json?: boolean }) => {
      const cpu = addon().cpuInfo()
      const cuda = addon().cudaInfo(cudaModule())
      const isa = process.env.KVASIR_ISA || cpu.isas[0]
      if (json) {
        const gpus = cuda.devices.map((device, index) => ({ device: 'cuda', index, ...device }))
        return printJson([
          { device: 'cpu', isa, ...cpu },
          ...(gpus.length > 0 ? gpus : [{ device: 'cuda', reason: cuda.reason }]),
        ])
      }
      process.stdout.write([...cpuLines(cpu, isa), ...cudaLines(cuda), ''].join('\n'))
    })
}

function cpuLines(cpu: CpuInfo, isa: string | undefined): string[] {
  return [
    `cpu   ${cpu.name}`,
    `      ${cpu.processors} processor${cpu.processors === 1 ? '' : 's'} for this process, ` +
      `${formatBytes(cpu.availableMemory)} of memory free`,
    `      instruction sets: ${cpu.isas.map((name) => (name === isa ? `${name} (used)` : name)).join(', ')}`,
  ]
}

function cudaLines({ reason, devices }: CudaInfo): string[] {
  if (devices.length === 0) return [`cuda  not available: ${reason}`]
  return devices.flatMap(({ name, architecture, multiprocessors, memory, freeMemory }, index) => [
    `cuda  ${index}: ${name}`,
    `      compute capability ${Math.floor(architecture / 10)}.${architecture % 10}, ${multiprocessors} multiprocessors, ` +
      `${formatBytes(freeMemory)} of ${formatBytes(memory)} of memory free`,
  ])
}
