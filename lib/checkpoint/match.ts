import { CheckpointError } from '../errors.js'
import type { DType } from '../graph/graph.js'
import { formatShape, isBlocked } from '../graph/graph.js'
import type { CheckpointLayout, NamedParameter } from '../nn/index.js'
import type { Checkpoint, LocatedTensor } from './checkpoint.js'

/** A parameter's tensor. */
export interface MatchedTensor extends LocatedTensor {
  transposed: boolean
  dtype: DType
}

// The type that holds what a file's type holds: native/checkpoint/gguf-types.cpp has the blocks' own.
const loadable = new Map<string, DType>([
  ['F32', 'f32'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
  ...['Q4_0', 'Q4_1', 'Q4_K'].map((type) => [type, 'q4'] as const),
  ...'Q8_0 Q5_0 Q5_1 Q2_K Q3_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4'.split(' ').map((type) => [type, 'q8'] as const),
])

/**
 * Finds every parameter's tensor.
 *
 * @throws {CheckpointError} for a missing tensor, a tensor of no parameter, a wrong shape or a dtype that is no float
 */
export function matchParameters(
  checkpoint: Checkpoint,
  parameters: readonly NamedParameter[],
  rules: CheckpointLayout,
): Map<string, MatchedTensor> {
  const transposed = rules.transposed.map((pattern) => new RegExp(pattern))
  const matched = new Map<string, MatchedTensor>()
  const used = new Set<string>()
  for (const parameter of parameters) {
    const [name, found] = find(checkpoint, parameter, rules)
    used.add(name)
    const dtype = dtypeOf(found)
    // Blocks run along W's rows, so W is never held transposed in them.
    const isPlain = found.isPlain || isBlocked(dtype)
    const isTransposed = !isPlain && transposed.some((pattern) => pattern.test(parameter.path))
    checkShape(found, parameter, isTransposed)
    matched.set(parameter.path, { ...found, transposed: isTransposed, dtype })
  }
  checkExtra(checkpoint, used, rules)
  return matched
}

/** The tensor, and the name by which the checkpoint has it. */
function find(
  checkpoint: Checkpoint,
  parameter: NamedParameter,
  rules: CheckpointLayout,
): [string, LocatedTensor] {
  for (const prefix of rules.prefixes) {
    const name = prefix + parameter.path
    const found = checkpoint.tensors.get(name)
    if (found) return [name, found]
  }
  const expected = `${parameter.path} ${formatShape(parameter.shape)}`
  throw new CheckpointError('ERR_FILE_FORMAT', `checkpoint: tensor ${expected} is missing`, {
    tensor: parameter.path,
    expected,
    found: 'nothing',
  })
}

function checkShape(found: LocatedTensor, parameter: NamedParameter, transposed: boolean): void {
  const expected = transposed ? parameter.shape.toReversed() : parameter.shape
  const { name: tensor, shape } = found.entry
  if (shape.length === expected.length && shape.every((size, i) => size === expected[i])) return
  const problem = {
    file: found.fileName,
    tensor,
    field: 'shape',
    expected: formatShape(expected),
    found: formatShape(shape),
  }
  const message = `${found.fileName}: tensor ${tensor} must be ${problem.expected}, got ${problem.found}`
  throw new CheckpointError('ERR_FILE_FORMAT', message, problem)
}

function dtypeOf(found: LocatedTensor): DType {
  const { name: tensor, dtype } = found.entry
  const known = loadable.get(dtype)
  if (known) return known
  const expected = [...loadable.keys()].join(', ')
  const message = `${found.fileName}: tensor ${tensor} must be one of ${expected}, got ${dtype}`
  const problem = { file: found.fileName, tensor, field: 'dtype', expected, found: dtype }
  throw new CheckpointError('ERR_UNSUPPORTED', message, problem)
}

function checkExtra(checkpoint: Checkpoint, used: ReadonlySet<string>, rules: CheckpointLayout): void {
  const ignored = rules.ignored.map((pattern) => new RegExp(pattern))
  for (const [name, { entry, fileName }] of checkpoint.tensors) {
    if (used.has(name) || ignored.some((pattern) => pattern.test(name))) continue
    const tensor = entry.name
    const message = `${fileName}: tensor ${tensor} belongs to no parameter of the model`
    const problem = { file: fileName, tensor, expected: 'a parameter of the model', found: tensor }
    throw new CheckpointError('ERR_FILE_FORMAT', message, problem)
  }
}
