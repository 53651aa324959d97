import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { rootDir } from './shared.js'

/** Rooms from the top floor down; a room imports from its own floor's rooms only where they are listed together. */
const typescriptFloors = [
  ['cli'],
  ['index'],
  ['language-model', 'convert-model'],
  ['model-setup', 'completion', 'sequence', 'chat-stream', 'trace'],
  ['engine'],
  ['checkpoint', 'models', 'hub'],
  ['nn'],
  ['ops'],
  ['native'],
  ['graph'],
  ['constraints', 'chat'],
  ['tokenizer'],
  ['errors'],
]

const nativeFloors = [
  ['binding'],
  ['backends'],
  ['runtime'],
  ['checkpoint'],
  ['kernels'],
  ['device'],
  ['platform'],
  ['types'],
]

const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', 'lib', 'native', 'test'], {
  cwd: rootDir,
})
  .toString()
  .split('\n')
  .filter((file) => file !== '')

const read = (file: string) => readFileSync(join(rootDir, file), 'utf8')

/** `lib/graph/passes/layout.ts` is in the room `graph`, `lib/errors.ts` in the room `errors`. */
const roomOf = (path: string) => path.split('/')[1]!.replace(/\.(ts|h|cpp)$/, '')

interface Import {
  from: string
  to: string
  typeOnly: boolean
}

function typescriptImports(): Import[] {
  return files
    .filter((file) => file.startsWith('lib/') && file.endsWith('.ts'))
    .flatMap((from) => {
      const found = read(from).matchAll(/^(?:import|export)\s+(type\s)?[^'"]*?from\s+'(\.[^']+)'/gms)
      return [...found].map(([, type, path]) => ({
        from,
        to: normalize(join(dirname(from), path!)).replace(/\.js$/, '.ts'),
        typeOnly: type !== undefined,
      }))
    })
}

function nativeIncludes(): Import[] {
  return files
    .filter((file) => file.startsWith('native/') && /\.(h|cuh|cpp|cu)$/.test(file))
    .flatMap((from) => {
      const found = read(from).matchAll(/^#include "([^"]+)"/gm)
      return [...found].map(([, path]) => ({ from, to: `native/${path}`, typeOnly: false }))
    })
}

function upward(imports: Import[], floors: string[][]): string[] {
  const floorOf = (path: string) => floors.findIndex((rooms) => rooms.includes(roomOf(path)))
  return imports
    .filter(({ from, to }) => {
      const [above, below] = [floorOf(from), floorOf(to)]
      return above < 0 || below < 0 || above > below || (above === below && roomOf(from) !== roomOf(to))
    })
    .map(({ from, to }) => `${from} -> ${to}`)
}

/** A cycle among imports, as a path, or null. */
function findCycle(imports: Import[]): string | null {
  const next = new Map<string, string[]>()
  for (const { from, to } of imports) next.set(from, [...(next.get(from) ?? []), to])
  const done = new Set<string>()
  const visit = (file: string, way: string[]): string | null => {
    if (way.includes(file)) return [...way.slice(way.indexOf(file)), file].join(' -> ')
    if (done.has(file)) return null
    for (const to of next.get(file) ?? []) {
      const cycle = visit(to, [...way, file])
      if (cycle) return cycle
    }
    done.add(file)
    return null
  }
  for (const file of next.keys()) {
    const cycle = visit(file, [])
    if (cycle) return cycle
  }
  return null
}

describe('the house', () => {
  const typescript = typescriptImports()
  const native = nativeIncludes()

  it('is not empty', () => {
    expect(typescript.length).toBeGreaterThan(100)
    expect(native.length).toBeGreaterThan(50)
  })

  it('imports go down only', () => {
    expect(upward(typescript, typescriptFloors)).toEqual([])
    expect(upward(native, nativeFloors)).toEqual([])
  })

  it('has no cycles', () => {
    expect(findCycle(typescript.filter(({ typeOnly }) => !typeOnly))).toBeNull()
    expect(findCycle(native)).toBeNull()
  })

  it('only the binding knows Node-API, only lib/native the addon', () => {
    const knowsNapi = files.filter(
      (file) => /^native\/.*\.(h|cpp)$/.test(file) && read(file).includes('<napi.h>'),
    )
    expect(knowsNapi.filter((file) => !file.startsWith('native/binding/'))).toEqual([])
    const loadsAddon = files.filter(
      (file) => file.startsWith('lib/') && read(file).includes('node-gyp-build'),
    )
    expect(loadsAddon).toEqual(['lib/native/addon.ts'])
  })

  it('files are kebab-case', () => {
    const odd = files.filter((file) => !/^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(file.split('/').at(-1)!))
    expect(odd.filter((file) => !/(README\.md|CMakeLists\.txt)$/.test(file))).toEqual([])
  })

  it('no file is named after nothing', () => {
    expect(files.filter((file) => /\b(utils?|helpers?|common|misc|managers?)\b/.test(file))).toEqual([])
  })

  it('a kernel has one stem everywhere', () => {
    const kernels = [
      ...new Set(files.filter((f) => f.startsWith('native/kernels/')).map((f) => f.split('/')[2]!)),
    ]
    expect(kernels.length).toBeGreaterThan(10)
    for (const stem of kernels) {
      const room = `native/kernels/${stem}`
      expect(files).toContain(`${room}/${stem}.h`)
      expect(files).toContain(`${room}/${stem}.cpu.cpp`)
      expect(files).toContain(`${room}/${stem}.cuda.cu`)
      if (stem !== 'kv-append') expect(files).toContain(`lib/ops/${stem}.ts`) // only a pass makes that node
      expect(files).toContain(`test/kernels/${stem}.test.ts`)
    }
  })

  it('every native source is in the list, and nothing else', () => {
    const listed = JSON.parse(read('native/sources.json'))
    const sources = files.filter((file) => /^native\/.*\.(cpp|cu)$/.test(file))
    const { base, kernels, cuda, cudaRuntime, emulator } = listed
    expect([...base, ...kernels, ...cuda, ...cudaRuntime, ...emulator].sort()).toEqual(sources.sort())
    expect(listed.kernels.every((file: string) => file.endsWith('.cpu.cpp'))).toBe(true)
  })
})
