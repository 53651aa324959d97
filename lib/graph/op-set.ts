/** What an attribute holds: a number, a list of numbers, a flag, or one of these words. */
export type AttributeKind = 'number' | 'numbers' | 'boolean' | readonly string[]

/** The names an op's node carries; one that ends in `?` may be absent. */
export interface OpSignature {
  inputs: readonly string[]
  outputs: readonly string[]
  attributes: Readonly<Record<string, AttributeKind>>
}

const kinds = ['relu', 'gelu', 'gelu-tanh', 'silu'] as const

/** Every op that a graph may hold. What each computes is said in its kernel's header, `native/kernels/<op>/<op>.h`. */
export const opSet = {
  embedding: { inputs: ['ids', 'weight'], outputs: ['y'], attributes: {} },
  linear: {
    inputs: ['x', 'weight', 'bias?', 'residual?'],
    outputs: ['y'],
    // With roundsOperand x is rounded to bf16, the weight's type, before it is multiplied.
    attributes: { activation: ['none', ...kinds], gated: 'boolean', 'roundsOperand?': 'boolean' },
  },
  'layer-norm': {
    inputs: ['x', 'residual?', 'weight?', 'bias?'],
    outputs: ['y', 'sum?'],
    attributes: { epsilon: 'number' },
  },
  'rms-norm': {
    inputs: ['x', 'residual?', 'weight?'],
    outputs: ['y', 'sum?'],
    // With heads, each of them has a norm of its own; absent, a row is one.
    attributes: { epsilon: 'number', 'heads?': 'number' },
  },
  'rope-table': {
    inputs: ['positions'],
    outputs: ['y'],
    attributes: { frequencies: 'numbers', magnitude: 'number' },
  },
  rope: {
    inputs: ['x', 'table'],
    outputs: ['y'],
    attributes: { heads: 'number', headSize: 'number', interleaved: 'boolean' },
  },
  slice: { inputs: ['x'], outputs: ['y'], attributes: { start: 'number', size: 'number' } },
  activation: { inputs: ['x', 'up?'], outputs: ['y'], attributes: { kind: kinds } },
  add: { inputs: ['a', 'b'], outputs: ['y'], attributes: {} },
  scale: { inputs: ['x'], outputs: ['y'], attributes: { factor: 'number' } },
  softcap: { inputs: ['x'], outputs: ['y'], attributes: { cap: 'number' } },
  softmax: { inputs: ['x'], outputs: ['y'], attributes: {} },
  experts: {
    inputs: ['x', 'logits', 'gate', 'up', 'down'],
    outputs: ['y'],
    attributes: { chosen: 'number', normalised: 'boolean', activation: kinds },
  },
  'gather-rows': { inputs: ['x', 'rows'], outputs: ['y'], attributes: {} },
  // As recorded it takes k and v; lowered, a kv-append before it has put them into the cache.
  attention: {
    inputs: ['q', 'k?', 'v?', 'slopes?', 'queryStarts', 'contextLengths', 'blockTables'],
    outputs: ['y'],
    attributes: {
      layer: 'number',
      heads: 'number',
      kvHeads: 'number',
      headSize: 'number',
      scale: 'number',
      softcap: 'number',
      window: 'number',
    },
  },
  // With a table it also rotates q, in its storage.
  'kv-append': {
    inputs: ['k', 'v', 'table?', 'q?', 'queryStarts', 'contextLengths', 'blockTables'],
    outputs: ['q?'],
    attributes: {
      layer: 'number',
      kvHeads: 'number',
      headSize: 'number',
      'heads?': 'number',
      'interleaved?': 'boolean',
    },
  },
  'adjust-logits': {
    inputs: ['logits', 'editStarts', 'editIds', 'editFactors', 'editOffsets', 'maskRows', 'masks'],
    outputs: ['adjusted'],
    attributes: {},
  },
  // The three that may be absent come together.
  sample: {
    inputs: [
      'logits',
      'adjusted?',
      'temperature',
      'topK',
      'typicalP?',
      'topP',
      'minP',
      'seed',
      'counter',
      'forced?',
    ],
    outputs: ['ids', 'logprobs'],
    attributes: {},
  },
  'top-logits': {
    inputs: ['logits', 'allowed', 'counts'],
    outputs: ['topIds', 'topLogprobs'],
    attributes: { most: 'number' },
  },
} as const satisfies Record<string, OpSignature>

export type OpName = keyof typeof opSet

/** The signature of an op, or undefined where there is no such op. */
export function signatureOf(op: string): OpSignature | undefined {
  return Object.hasOwn(opSet, op) ? opSet[op as OpName] : undefined
}
