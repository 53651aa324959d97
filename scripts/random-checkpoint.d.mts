export interface RandomCheckpoint {
  folder: string
  config: object
  parameters: { path: string; shape: readonly number[] }[]
  transposed?: string[]
  seed?: number
  /** The standard deviation of everything but norms' weights, which keep it around 1. */
  deviation?: number
}
export function writeRandomCheckpoint(options: RandomCheckpoint): void
export class Random {
  constructor(seed: number)
  next(): number
  uniform(): number
}
