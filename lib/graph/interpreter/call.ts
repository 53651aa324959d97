import { invalidType, KvasirError } from '../../errors.js'
import type { Node } from '../graph.js'
import type { KvCache } from './kv-cache.js'

export type Numbers = Float64Array | Int32Array

/** A value with its numbers, row-major. */
export interface NumericTensor {
  shape: readonly number[]
  data: Numbers
  /** Of a weight: kernels that read it round what they multiply it with to 8 bits. */
  roundsToBytes?: boolean
}

/** A node being executed: its inputs' numbers and its attributes. */
export class Call {
  readonly node: Node
  readonly cache: KvCache
  readonly #inputs: Record<string, NumericTensor>

  constructor(node: Node, inputs: Record<string, NumericTensor>, cache: KvCache) {
    this.node = node
    this.cache = cache
    this.#inputs = inputs
  }

  has(input: string): boolean {
    return this.#inputs[input] !== undefined
  }

  shape(input: string): readonly number[] {
    return this.#get(input).shape
  }

  /** The number of rows and columns of a 2-D input. */
  size(input: string): [rows: number, columns: number] {
    const [rows = 0, columns = 0] = this.shape(input)
    return [rows, columns]
  }

  /** Whether an input is a weight whose other operand kernels round to 8 bits. */
  roundsToBytes(input: string): boolean {
    return this.#get(input).roundsToBytes ?? false
  }

  floats(input: string): Float64Array {
    const { data } = this.#get(input)
    if (data instanceof Float64Array) return data
    throw invalidType(`${this.node.op}: ${input}`, 'floating-point', data)
  }

  /** The numbers of an input that may be absent. */
  floatsIf(input: string): Float64Array | undefined {
    return this.has(input) ? this.floats(input) : undefined
  }

  integers(input: string): Int32Array {
    const { data } = this.#get(input)
    if (data instanceof Int32Array) return data
    throw invalidType(`${this.node.op}: ${input}`, 'integers', data)
  }

  number(attribute: string): number {
    const value = this.node.attributes[attribute]
    if (typeof value === 'number') return value
    throw invalidType(`${this.node.op}: ${attribute}`, 'a number', value)
  }

  numbers(attribute: string): readonly number[] {
    const value = this.node.attributes[attribute]
    if (typeof value === 'object') return value
    throw invalidType(`${this.node.op}: ${attribute}`, 'a list of numbers', value)
  }

  word(attribute: string): string {
    const value = this.node.attributes[attribute]
    if (typeof value === 'string') return value
    throw invalidType(`${this.node.op}: ${attribute}`, 'a string', value)
  }

  flag(attribute: string): boolean {
    const value = this.node.attributes[attribute]
    if (typeof value === 'boolean') return value
    throw invalidType(`${this.node.op}: ${attribute}`, 'a boolean', value)
  }

  #get(input: string): NumericTensor {
    const found = this.#inputs[input]
    if (found) return found
    throw new KvasirError('ERR_INVALID_ARG_VALUE', `${this.node.op}: ${input} must be given, got nothing`)
  }
}

/** Computes a node's outputs, by name. */
export type Rule = (call: Call) => Record<string, Numbers>
