import { expectInteger } from '../ops/check.js'

/** More layers than any model has, and few enough that a hostile file's count costs little: 25 MB, recorded. */
export const maxLayers = 1024

/**
 * `count` modules in a list: `h = repeat(12, (i) => new Block(this.config, i))`.
 *
 * @param count 0 to 1024
 * @throws {TypeError | RangeError} when count is not an integer in that range
 */
export function repeat<T>(count: number, make: (index: number) => T): T[] {
  expectInteger('repeat', 'count', count, 0, maxLayers)
  return Array.from({ length: count }, (_, i) => make(i))
}
