import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, it } from 'vitest'
import { rootDir } from '../shared.js'

const report = join(rootDir, 'benchmarks/peers/report/readme-table.mjs')
const { readmeCaption, readmeTable } = await import(pathToFileURL(report).href)

const delay = { p99Ms: 1.5, maxMs: 12.4 }
const abort = { settledMs: 2.04, idleMs: 30 }
const round = (prefillRate: number, decodeRate: number) => ({
  prefillRate,
  decodeRate,
  loadMs: 250.4,
  loadedBytes: 300e6,
  peakBytes: 410.2e6,
  delays: { loading: delay, prefill: delay, decode: delay },
  aborts: { prefill: abort, decode: abort },
})
const contender = (name: string, bits: number, rounds: object[]) => ({
  ...{ package: name, version: '1.0.0', type: `b${bits}`, bits, status: 'measured', rounds },
})
const shape = { title: 'Small', promptTokens: 8, decodeTokens: 4 }
const run = { cpu: 'A processor', threads: 2, isa: 'avx2', node: '20.0.0', date: '2026-01-01', commit: 'abc' }
const results = {
  ...{ ...run, effort: { rounds: 3 } },
  shapes: {
    small: {
      ...shape,
      contenders: [
        contender('a', 16, [round(10, 3), round(30, 1), round(20, 2)]),
        contender('b', 32, [round(40, 5)]),
        contender('c', 16, [round(15, 4)]),
        { ...contender('d', 16, []), status: 'failed', reason: 'why' },
      ],
    },
  },
}

it('contenders come by how exact their weights are, the best of equals in bold, failures with their reason', () => {
  const rest = '250 | 300 / 410 | 12 / 12 / 12 | 2.0 / 2.0'
  expect(readmeTable(results, 'small').split('\n').slice(2)).toEqual([
    `| b32 | b 1.0.0 | 40 | 5.0 | ${rest} |`,
    `| b16 | a 1.0.0 | **20 (10-30)** | 2.0 (1.0-3.0) | ${rest} |`,
    `| b16 | c 1.0.0 | 15 | **4.0** | ${rest} |`,
    '| b16 | d 1.0.0 | failed: why |  |  |  |  |  |',
  ])
})

it('the caption says what was run, where and when', () => {
  expect(readmeCaption(results, 'small')).toBe(
    'Small, random weights; prefill of 8 tokens, decode of 4. A processor, 2 threads, avx2, Node.js 20.0.0; ' +
      '2026-01-01, commit abc. Median of 3 rounds (least-most).',
  )
})
