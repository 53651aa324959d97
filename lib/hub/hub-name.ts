import { invalidValue } from '../errors.js'

/** A model on the hub. */
export interface HubName {
  /** `org/name` */
  repo: string
  /** A branch, a tag or a commit; `main` where none was given. */
  revision: string
}

const namePart = /^[A-Za-z0-9][\w.-]{0,95}$/
const revisionPart = /^[\w][\w./-]{0,255}$/

/** Whether a text can be a model's name on the hub: `org/name` or `org/name@revision`. */
export function isHubName(text: string): boolean {
  const [name = '', revision, ...more] = text.split('@')
  const parts = name.split('/')
  if (more.length > 0 || parts.length !== 2 || !parts.every((part) => isSafe(part, namePart))) return false
  return revision === undefined || isSafe(revision, revisionPart)
}

/** @throws {RangeError} when the text is no such name */
export function parseHubName(where: string, text: string): HubName {
  if (!isHubName(text)) throw invalidValue(`${where}: name`, '"org/name" or "org/name@revision"', text)
  const [repo, revision = 'main'] = text.split('@') as [string, string?]
  return { repo, revision }
}

/** Names become folders, so that none may lead elsewhere. */
function isSafe(part: string, pattern: RegExp): boolean {
  return pattern.test(part) && !part.includes('..') && !part.endsWith('/') && !part.includes('//')
}
