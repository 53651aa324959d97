import type { Mask } from '../ops/attention.js'
import { expectInteger } from '../ops/check.js'

/** A query sees its own position and all before it. */
export const causal: Mask = { window: 0 }

/**
 * A query sees the last `window` positions, its own included. Beltagy et al. 2020, https://arxiv.org/abs/2004.05150
 *
 * @throws {TypeError | RangeError} when window is not an integer from 1
 */
export function slidingWindow(window: number): Mask {
  expectInteger('slidingWindow', 'window', window, 1, 2 ** 31 - 1)
  return { window }
}
