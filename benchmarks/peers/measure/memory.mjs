import { readFileSync } from 'node:fs'

/** What this process holds now and held at most, in bytes. Pages of mapped files are `mappedBytes` of `residentBytes`. */
export function memory() {
  const status = readFileSync('/proc/self/status', 'utf8')
  const bytes = (field) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN) * 1024
  return { residentBytes: bytes('VmRSS'), mappedBytes: bytes('RssFile'), peakBytes: bytes('VmHWM') }
}
