import { CheckpointError, describe, type ErrorCode } from '../../errors.js'
import type { MetadataArray, MetadataValue } from '../../native/addon.js'

/** The metadata of a GGUF file, which is not trusted: every value is read through a check. */
export class GgufMetadata {
  /** For messages. */
  readonly fileName: string
  readonly #values: ReadonlyMap<string, MetadataValue>
  readonly #readArray: (key: string) => string[] | Float64Array

  constructor(
    fileName: string,
    values: Record<string, MetadataValue>,
    readArray: (key: string) => string[] | Float64Array,
  ) {
    this.fileName = fileName
    this.#values = new Map(Object.entries(values))
    this.#readArray = readArray
  }

  get architecture(): string {
    return this.string('general.architecture')
  }

  entries(): [string, MetadataValue][] {
    return [...this.#values]
  }

  has(key: string): boolean {
    return this.#values.has(key)
  }

  /** An integer from 0 to 2^31 - 1. Without a fallback the key must be there. */
  integer(key: string, fallback?: number): number {
    const value = this.#values.get(key) ?? fallback
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 31) return value
    throw this.error(key, 'an integer from 0 to 2^31 - 1', value)
  }

  number(key: string, fallback?: number): number {
    const value = this.#values.get(key) ?? fallback
    if (typeof value === 'number' && Number.isFinite(value)) return value
    throw this.error(key, 'a finite number', value)
  }

  boolean(key: string, fallback?: boolean): boolean {
    const value = this.#values.get(key) ?? fallback
    if (typeof value === 'boolean') return value
    throw this.error(key, 'true or false', value)
  }

  string(key: string, fallback?: string): string {
    const value = this.#values.get(key) ?? fallback
    if (typeof value === 'string') return value
    throw this.error(key, 'a string', value)
  }

  strings(key: string): string[] {
    this.#expectArray(key, 'string')
    return this.#readArray(key) as string[]
  }

  numbers(key: string): Float64Array {
    this.#expectArray(key, 'number')
    return this.#readArray(key) as Float64Array
  }

  error(
    field: string,
    expected: string,
    value: unknown,
    code: ErrorCode = 'ERR_FILE_FORMAT',
  ): CheckpointError {
    const file = this.fileName
    const found = value === undefined ? 'nothing' : isArray(value) ? arrayText(value) : describe(value)
    const message = `${file}: ${field} must be ${expected}, got ${found}`
    return new CheckpointError(code, message, { file, field, expected, found })
  }

  #expectArray(key: string, elements: 'string' | 'number'): void {
    const value = this.#values.get(key)
    if (isArray(value) && value.elements === elements) return
    throw this.error(key, `an array of ${elements}s`, value)
  }
}

export function isArray(value: unknown): value is MetadataArray {
  return typeof value === 'object' && value !== null
}

function arrayText({ elements, length }: MetadataArray): string {
  return `an array of ${length} ${elements}s`
}
