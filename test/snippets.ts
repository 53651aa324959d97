import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { rootDir } from './shared.js'

const run = promisify(execFile)

/** The TypeScript that a document shows. */
export function snippetsOf(markdown: string): string[] {
  return [...markdown.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code!)
}

/**
 * Compiles snippets in a folder of their own where `kvasir` is installed, as a reader would: `out/snippet-0.js`...
 *
 * @returns the folder
 */
export async function compileSnippets(snippets: readonly string[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-snippets-'))
  const modules = join(folder, 'node_modules')
  mkdirSync(join(modules, '@types'), { recursive: true })
  symlinkSync(rootDir, join(modules, 'kvasir'))
  symlinkSync(join(rootDir, 'node_modules', '@types', 'node'), join(modules, '@types', 'node'))
  symlinkSync(join(rootDir, 'models'), join(folder, 'models'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  const compilerOptions = {
    target: 'es2022',
    module: 'nodenext',
    strict: true,
    outDir: 'out',
    rootDir: '.',
    types: ['node'],
  }
  const files = snippets.map((_, i) => `snippet-${i}.ts`)
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
  for (const [i, code] of snippets.entries()) writeFileSync(join(folder, files[i]!), code)
  await run(process.execPath, [join(rootDir, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', folder])
  return folder
}
