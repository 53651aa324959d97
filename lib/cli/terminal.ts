import { KvasirError } from '../errors.js'

export const exitCodes = { success: 0, failure: 1, usage: 2, interrupted: 130 } as const

/** The command line asks for something that cannot be. */
export class UsageError extends Error {}

/** Ctrl-C. */
export class Interrupted extends Error {}

/** `kvasir: <message>`, and what kind of error it is. */
export function reportFailure(error: unknown): void {
  const known = error instanceof Error ? error : new Error(String(error))
  const code = (known as { code?: unknown }).code
  const kind = known instanceof KvasirError || typeof code === 'string' ? ` (${String(code)})` : ''
  process.stderr.write(`kvasir: ${known.message}${kind}\n`)
}

/** Runs `body` with a signal that Ctrl-C aborts; a second Ctrl-C ends the process at once. */
export async function interruptible<T>(body: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const onInterrupt = () => {
    process.once('SIGINT', () => process.exit(exitCodes.interrupted))
    controller.abort(new Interrupted('interrupted'))
  }
  process.once('SIGINT', onInterrupt)
  try {
    return await body(controller.signal)
  } finally {
    process.off('SIGINT', onInterrupt)
  }
}

/** A progress line on stderr, only where a person watches it. */
export function progressLine(verb = 'loading'): {
  update(progress: { loadedBytes: number; totalBytes: number; bytesPerSecond?: number }): void
  end(): void
} {
  if (!process.stderr.isTTY) return { update() {}, end() {} }
  return {
    update({ loadedBytes, totalBytes, bytesPerSecond }) {
      const share = totalBytes === 0 ? 1 : loadedBytes / totalBytes
      const rate = bytesPerSecond === undefined ? '' : `, ${formatBytes(bytesPerSecond)}/s`
      const text = `${verb} ${bar(share, 24, '·')} ${Math.floor(share * 100)} % of ${formatBytes(totalBytes)}${rate}`
      process.stderr.write(`\r\x1b[K${text}`)
    },
    end() {
      process.stderr.write('\r\x1b[K')
    },
  }
}

const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']

/** A horizontal bar of `share` (0 to 1) of `width` columns, in eighths of a column. */
export function bar(share: number, width: number, background = ' '): string {
  const units = Math.round(Math.min(Math.max(share, 0), 1) * width * 8)
  const drawn = '█'.repeat(Math.floor(units / 8)) + eighths[units % 8]
  return drawn + background.repeat(width - Math.ceil(units / 8))
}

/** `498 MB` */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}
