import { CheckpointError, type ErrorCode } from '../errors.js'

/**
 * A JSON object from a file that is not trusted: every value is read through a check, and whatever is
 * not as expected is a `CheckpointError` that names file and field. Only own properties count, so keys
 * such as `__proto__` or `constructor` are keys like any other.
 */
export class JsonObject {
  readonly file: string
  readonly path: string
  readonly #value: Record<string, unknown>

  /** @throws CheckpointError where `value` is not an object. */
  constructor(file: string, path: string, value: unknown) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw fieldError(file, path, 'an object', value)
    }
    this.file = file
    this.path = path
    this.#value = value as Record<string, unknown>
  }

  /** The value of a key, `undefined` where the key is missing or null. */
  get(name: string): unknown {
    return Object.hasOwn(this.#value, name) ? (this.#value[name] ?? undefined) : undefined
  }

  entries(): [string, unknown][] {
    return Object.entries(this.#value)
  }

  error(name: string, expected: string, code: ErrorCode = 'ERR_FILE_FORMAT', found = this.get(name)) {
    return fieldError(this.file, this.field(name), expected, found, code)
  }

  /** The full name of a key, such as `model.vocab`. */
  field(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`
  }

  object(name: string): JsonObject {
    return new JsonObject(this.file, this.field(name), this.get(name))
  }

  optionalObject(name: string): JsonObject | null {
    return this.get(name) === undefined ? null : this.object(name)
  }

  array(name: string): unknown[] {
    const value = this.get(name)
    if (!Array.isArray(value)) throw this.error(name, 'an array')
    return value
  }

  objects(name: string): JsonObject[] {
    return this.array(name).map(
      (value, index) => new JsonObject(this.file, `${this.field(name)}[${index}]`, value),
    )
  }

  string(name: string): string {
    const value = this.get(name)
    if (typeof value !== 'string') throw this.error(name, 'a string')
    if (!isWellFormed(value)) throw this.error(name, 'well-formed Unicode')
    return value
  }

  optionalString(name: string): string | null {
    return this.get(name) === undefined ? null : this.string(name)
  }

  /** A string of one character. */
  character(name: string): string {
    const value = this.string(name)
    if ([...value].length !== 1) throw this.error(name, 'one character')
    return value
  }

  /** A string that is one of a few. Another is `ERR_UNSUPPORTED`. */
  choice<T extends string>(name: string, choices: readonly T[], fallback?: T): T {
    if (fallback !== undefined && this.get(name) === undefined) return fallback
    const found = this.string(name)
    const choice = choices.find((each) => each === found)
    if (choice === undefined) throw this.error(name, oneOf(choices), 'ERR_UNSUPPORTED')
    return choice
  }

  boolean(name: string, fallback: boolean): boolean {
    return this.optionalBoolean(name) ?? fallback
  }

  optionalBoolean(name: string): boolean | null {
    const value = this.get(name) ?? null
    if (value !== null && typeof value !== 'boolean') throw this.error(name, 'true or false')
    return value
  }

  integer(name: string, minimum: number, maximum: number, fallback?: number): number {
    const value = this.get(name) ?? fallback
    if (!isInteger(value, minimum, maximum)) {
      throw this.error(name, `an integer from ${minimum} to ${maximum}`)
    }
    return value
  }
}

export function isInteger(value: unknown, minimum: number, maximum: number): value is number {
  return Number.isInteger(value) && (value as number) >= minimum && (value as number) <= maximum
}

/** Whether a string has no lone surrogates. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text)
}

export function fieldError(
  file: string,
  field: string,
  expected: string,
  found: unknown,
  code: ErrorCode = 'ERR_FILE_FORMAT',
): CheckpointError {
  const described = describe(found)
  const message = `${file}: ${field || 'the file'} must be ${expected}, got ${described}`
  return new CheckpointError(code, message, { file, field, expected, found: described })
}

function oneOf(choices: readonly string[]): string {
  return choices.length === 1 ? `"${choices[0]}"` : `one of ${choices.map((each) => `"${each}"`).join(', ')}`
}

function describe(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object') return 'an object'
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}...` : value)
  return String(value)
}
