/** A value of JSON. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue }

export type JsonType = 'null' | 'boolean' | 'object' | 'array' | 'number' | 'integer' | 'string'

/**
 * A JSON schema, draft 2020-12, as far as text can be held to it. Anything in it may be read-only, so that a schema
 * given `as const` fits.
 */
export type JsonSchema = boolean | JsonSchemaObject

type Schemas = { readonly [name: string]: JsonSchema }

export interface JsonSchemaObject {
  readonly type?: JsonType | readonly JsonType[]
  readonly enum?: readonly JsonValue[]
  readonly const?: JsonValue

  readonly properties?: Schemas
  readonly required?: readonly string[]
  readonly additionalProperties?: JsonSchema
  readonly patternProperties?: Schemas
  readonly minProperties?: number
  readonly maxProperties?: number

  readonly items?: JsonSchema
  readonly prefixItems?: readonly JsonSchema[]
  readonly minItems?: number
  readonly maxItems?: number
  readonly uniqueItems?: boolean

  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
  readonly format?: string

  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  readonly exclusiveMaximum?: number
  readonly multipleOf?: number

  readonly anyOf?: readonly JsonSchema[]
  readonly oneOf?: readonly JsonSchema[]
  readonly allOf?: readonly JsonSchema[]

  /** A pointer into the schema itself: `#`, `#/$defs/name`. */
  readonly $ref?: string
  readonly $defs?: Schemas
  readonly definitions?: Schemas

  readonly $schema?: string
  readonly $id?: string
  readonly $comment?: string
  readonly title?: string
  readonly description?: string
  readonly default?: JsonValue
  readonly examples?: readonly JsonValue[]
  readonly deprecated?: boolean
  readonly readOnly?: boolean
  readonly writeOnly?: boolean
}

/**
 * The TypeScript type of what a schema describes, for a schema given `as const`. References into `$defs` and
 * `definitions` and to the whole are followed; where a type cannot be told, it is `unknown`.
 *
 * @example
 * const schema = { type: 'object', properties: { age: { type: 'integer' } }, required: ['age'] } as const
 * type Person = FromSchema<typeof schema> // { age: number }
 */
export type FromSchema<S> = Infer<S, S>

type Infer<S, Root> = S extends false
  ? never
  : S extends true
    ? JsonValue
    : S extends { readonly $ref: infer Ref }
      ? Infer<Resolve<Ref, Root>, Root>
      : S extends { readonly const: infer Value }
        ? Mutable<Value>
        : S extends { readonly enum: readonly (infer Value)[] }
          ? Mutable<Value>
          : S extends { readonly anyOf: readonly (infer Option)[] }
            ? Option extends unknown
              ? Infer<Option, Root>
              : never
            : S extends { readonly oneOf: readonly (infer Option)[] }
              ? Option extends unknown
                ? Infer<Option, Root>
                : never
              : S extends { readonly allOf: infer Parts extends readonly unknown[] }
                ? InferAll<Parts, Root>
                : InferKeywords<S, Root>

type InferAll<Parts extends readonly unknown[], Root> = Parts extends readonly [infer First, ...infer Rest]
  ? Infer<First, Root> & InferAll<Rest, Root>
  : unknown

type InferKeywords<S, Root> = S extends { readonly type: infer Type }
  ? Type extends readonly (infer Each)[]
    ? InferType<Each, S, Root>
    : InferType<Type, S, Root>
  : S extends { readonly properties: unknown } | { readonly additionalProperties: unknown }
    ? InferObject<S, Root>
    : S extends { readonly items: unknown } | { readonly prefixItems: unknown }
      ? InferArray<S, Root>
      : unknown

type InferType<Type, S, Root> = Type extends 'string'
  ? string
  : Type extends 'number' | 'integer'
    ? number
    : Type extends 'boolean'
      ? boolean
      : Type extends 'null'
        ? null
        : Type extends 'array'
          ? InferArray<S, Root>
          : Type extends 'object'
            ? InferObject<S, Root>
            : unknown

type InferArray<S, Root> = S extends { readonly prefixItems: infer Prefix extends readonly unknown[] }
  ? [...InferOptional<Prefix, Root>, ...(S extends { readonly items: infer Items } ? Rest<Items, Root> : [])]
  : S extends { readonly items: infer Items }
    ? Infer<Items, Root>[]
    : JsonValue[]

/** `minItems` may ask for fewer than all. */
type InferOptional<Prefix extends readonly unknown[], Root> =
  Partial<{
    -readonly [Index in keyof Prefix]: Infer<Prefix[Index], Root>
  }> extends infer Tuple extends unknown[]
    ? Tuple
    : never

type Rest<Items, Root> = Items extends false ? [] : Infer<Items, Root>[]

type InferObject<S, Root> = Simplify<
  DeclaredProperties<S, Root> &
    (S extends { readonly additionalProperties: infer Additional }
      ? Additional extends false
        ? unknown
        : { [key: string]: S extends { readonly properties: unknown } ? unknown : Infer<Additional, Root> }
      : unknown)
>

type DeclaredProperties<S, Root> = S extends { readonly properties: infer Properties }
  ? {
      -readonly [Key in keyof Properties as Key extends Required<S> ? Key : never]: Infer<
        Properties[Key],
        Root
      >
    } & {
      -readonly [Key in keyof Properties as Key extends Required<S> ? never : Key]?: Infer<
        Properties[Key],
        Root
      >
    }
  : unknown

type Required<S> = S extends { readonly required: readonly (infer Key)[] } ? Key : never

type Resolve<Ref, Root> = Ref extends '#'
  ? Root
  : Ref extends `#/${infer Holder}/${infer Name}`
    ? Root extends { readonly [H in Holder]: { readonly [N in Name]: infer Schema } }
      ? Schema
      : { readonly $unknown: true }
    : { readonly $unknown: true }

type Mutable<Value> = Value extends readonly unknown[] | object
  ? { -readonly [Key in keyof Value]: Mutable<Value[Key]> }
  : Value

type Simplify<Value> = Value extends object ? { [Key in keyof Value]: Value[Key] } : Value
