// Writes docs/families.md: the families of lib/models with the lines of their files, from the tree. Run
// `npm run build:ts` first.
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const models = join(root, 'lib', 'models')

/** The document, as it should be. */
export function familiesDocument() {
  const rows = families().map(({ types, file, lines, summary, paper }) => {
    const names = types.map((type) => `\`${type}\``).join(', ')
    return `| ${names} | [${file}](../lib/models/${file}) | ${lines} | ${summary} | ${paper} |`
  })
  return `# Families

Checkpoints of these types load as they are, from folders in Hugging Face's layout. Of GGUF files: \`bloom\`, \`gemma\`,
\`gemma2\`, \`gemma3\`, \`gpt2\`, \`gptneox\`, \`llama\` (Mistral's too), \`olmo2\`, \`phi3\`, \`qwen2\`, \`qwen3\` and \`smollm3\`.

A family is one file, which reads its config.json and says what a layer is, and one row in
[registry.ts](../lib/models/registry.ts); those that descend from LLaMA are written as what differs from it. Each is compared
with an independent implementation in float64, at every logit, and run with odd sizes on every instruction set
(\`test/models\`). The table is made by \`node scripts/families-table.mjs\`.

| \`model_type\` | file | lines | what it is | described in |
|---|---|--:|---|---|
${rows.join('\n')}
`
}

/** A family a file, in the order of the registry. */
function families() {
  const registry = readFileSync(join(models, 'registry.ts'), 'utf8')
  const files = new Map(
    [...registry.matchAll(/^import \{ (\w+) \} from '\.\/([\w-]+)\.js'/gm)].map(([, name, stem]) => [
      name,
      `${stem}.ts`,
    ]),
  )
  const byFile = new Map()
  for (const [, type, name] of registry.matchAll(/^ {2}\['(\w+)', (\w+)\],$/gm)) {
    const file = files.get(name)
    byFile.set(file, [...(byFile.get(file) ?? []), type])
  }
  return [...byFile].map(([file, types]) => {
    const text = readFileSync(join(models, file), 'utf8')
    return { types, file, lines: text.trimEnd().split('\n').length, ...described(text) }
  })
}

/** The first sentence and the sources of what is said above a file's model. */
function described(text) {
  const comment = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\nexport class/.exec(text)[1].replaceAll(/^\s*\* ?/gm, '')
  const whole = comment
    .split(/\n {4}/)[0]
    .replaceAll(/\s+/g, ' ')
    .trim()
  const sources = [...comment.matchAll(/https:\/\/\S+/g)].map(([url]) => url.replace(/[.,;]$/, ''))
  const summary = whole.split('. ')[0].replace(/\.?\s*$/, '')
  return {
    summary,
    paper: sources.map((url) => `[${new URL(url).pathname.split('/').pop()}](${url})`).join(', '),
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href)
  writeFileSync(join(root, 'docs', 'families.md'), familiesDocument())
