import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { rootDir } from '../shared.js'

export interface HeaderEntry {
  dtype: string
  shape: number[]
  data_offsets: [number, number]
}
export type Header = Record<string, HeaderEntry>

const made: string[] = []
afterAll(() => {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** A folder that is gone after the test file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-'))
  made.push(folder)
  return folder
}

/** A copy of a fixture's folder, to be spoilt. */
export function copyOf(fixture: string): string {
  const folder = temporaryFolder()
  cpSync(join(rootDir, 'test', 'fixtures', fixture), folder, { recursive: true })
  return folder
}

/** The header and data of a folder's model.safetensors. */
export function readTensors(folder: string): { header: Header; data: Buffer } {
  const file = readFileSync(join(folder, 'model.safetensors'))
  const length = Number(file.readBigUInt64LE(0))
  return { header: JSON.parse(file.subarray(8, 8 + length).toString()), data: file.subarray(8 + length) }
}

/** Writes a safetensors file; the header may be any text. */
export function writeTensors(
  path: string,
  header: Header | string | Buffer,
  data: Uint8Array,
  length?: bigint,
): void {
  const text = typeof header === 'string' || Buffer.isBuffer(header) ? header : JSON.stringify(header)
  const bytes = Buffer.from(text as string)
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(length ?? BigInt(bytes.length))
  writeFileSync(path, Buffer.concat([prefix, bytes, data]))
}
