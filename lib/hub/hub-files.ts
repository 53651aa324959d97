import { HubError } from '../errors.js'

/** A file of a model on the hub. */
export interface HubFile {
  path: string
  size: number
  /** What its blob is called: the SHA-256 of a large file, git's hash of a small one. */
  etag: string
  /** The SHA-256 of its contents, where the hub tells. */
  sha256: string | undefined
}

/** Beside the weights, the files of a model that are read. */
const smallFiles = new Set([
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.json',
  'chat_template.jinja',
  'model.safetensors.index.json',
])
const shard = /^model-\d{5}-of-\d{5}\.safetensors$/
const template = /^additional_chat_templates\/[\w.-]+\.jinja$/

/**
 * Of a model's files those that loading it needs: configuration, tokenizer, chat templates, and weights as safetensors; or
 * `only`, a GGUF file, with the other parts of it where it was split.
 *
 * @throws {HubError} when there are no weights that could be loaded, naming what there is
 */
export function neededFiles(repo: string, files: readonly HubFile[], only?: string): HubFile[] {
  if (only !== undefined) return ggufParts(repo, files, only)
  const isWhole = files.some(({ path }) => path === 'model.safetensors')
  const isNeeded = ({ path }: HubFile) =>
    smallFiles.has(path) || template.test(path) || (isWhole ? path === 'model.safetensors' : shard.test(path))
  const needed = files.filter(isNeeded).filter(({ path }) => !(isWhole && path.endsWith('.index.json')))
  if (needed.some(({ path }) => path.endsWith('.safetensors'))) return needed
  const gguf = files.filter(({ path }) => path.endsWith('.gguf')).map(({ path }) => path)
  const hint =
    gguf.length > 0
      ? `it has GGUF files, name one of them: ${gguf.slice(0, 8).join(', ')}`
      : `it has ${
          files
            .map(({ path }) => path)
            .slice(0, 8)
            .join(', ') || 'no files'
        }`
  throw new HubError('ERR_HUB_NOT_FOUND', `hub: ${repo} has no model.safetensors; ${hint}`)
}

function ggufParts(repo: string, files: readonly HubFile[], only: string): HubFile[] {
  const split = /^(.*)-\d{5}-of-(\d{5})\.gguf$/.exec(only)
  const parts = files.filter(({ path }) => {
    if (path === only) return true
    const part = split && /^(.*)-\d{5}-of-(\d{5})\.gguf$/.exec(path)
    return part ? part[1] === split[1] && part[2] === split[2] : false
  })
  if (parts.some(({ path }) => path === only)) return parts
  const some = files.map(({ path }) => path).filter((path) => path.endsWith('.gguf'))
  throw new HubError(
    'ERR_HUB_NOT_FOUND',
    `hub: ${repo} has no file ${only}; it has ${some.slice(0, 8).join(', ') || 'no GGUF files'}`,
  )
}

/** Names of files become paths, so that none may lead elsewhere. */
export function isSafePath(path: string): boolean {
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..') && !/[\\\0]/.test(path)
}
