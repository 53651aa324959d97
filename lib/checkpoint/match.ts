import { CheckpointError } from '../errors.js'
import type { DType } from '../graph/graph.js'
import { formatShape, isBlocked } from '../graph/graph.js'
import type { CheckpointLayout, FusedTensor, NamedParameter } from '../nn/index.js'
import type { Checkpoint, LocatedTensor } from './checkpoint.js'

/** A parameter's tensor. */
export interface MatchedTensor extends LocatedTensor {
  transposed: boolean
  dtype: DType
  /** Which of the tensor's rows are the parameter's, where it has others'. */
  rows?: RowsOfTensor
  /** What the file's numbers lack. */
  addend?: number
}

/** Rows in runs of `run` that begin `stride` apart, `count` in all. */
export interface RowsOfTensor {
  first: number
  count: number
  run: number
  stride: number
}

/** A tensor that a parameter may be in. */
interface Candidate {
  path: string
  /** Of the whole tensor. */
  shape: readonly number[]
  rows?: (isPlain: boolean) => RowsOfTensor
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
  const transposed = anyOf(rules.transposed)
  const lessOne = anyOf(rules.lessOne ?? [])
  const matched = new Map<string, MatchedTensor>()
  const used = new Set<string>()
  for (const parameter of parameters) {
    const { name, found, candidate } = find(checkpoint, parameter, rules)
    used.add(name)
    const dtype = dtypeOf(found)
    const { isPlain = false } = found
    // Blocks run along W's rows, so W is never held transposed in them.
    const isTransposed = !isPlain && !isBlocked(dtype) && transposed(parameter.path)
    checkShape(found, candidate.shape, isTransposed)
    const addend = !isPlain && lessOne(parameter.path) ? 1 : undefined
    const rows = candidate.rows?.(isPlain)
    matched.set(parameter.path, { ...found, transposed: isTransposed, dtype, rows, addend })
  }
  checkExtra(checkpoint, used, rules)
  return matched
}

function anyOf(patterns: readonly string[]): (path: string) => boolean {
  const expressions = patterns.map((pattern) => new RegExp(pattern))
  return (path) => expressions.some((expression) => expression.test(path))
}

/** The tensor, and the name by which the checkpoint has it. */
function find(
  checkpoint: Checkpoint,
  parameter: NamedParameter,
  rules: CheckpointLayout,
): { name: string; found: LocatedTensor; candidate: Candidate } {
  for (const candidate of [...fusedCandidates(parameter, rules.fused ?? []), parameter]) {
    for (const prefix of rules.prefixes) {
      const name = prefix + candidate.path
      const found = checkpoint.tensors.get(name)
      if (found) return { name, found, candidate }
    }
  }
  const expected = `${parameter.path} ${formatShape(parameter.shape)}`
  throw new CheckpointError('ERR_FILE_FORMAT', `checkpoint: tensor ${expected} is missing`, {
    tensor: parameter.path,
    expected,
    found: 'nothing',
  })
}

/** The tensors that could hold a parameter beside others. */
function fusedCandidates({ path, shape }: NamedParameter, fused: readonly FusedTensor[]): Candidate[] {
  const [, place = '', module = '', ending = ''] = /^(.*\.)?([^.]+)\.([^.]+)$/.exec(path) ?? []
  return fused
    .filter(({ parts }) => Object.hasOwn(parts, module))
    .map(({ tensor, parts, times = 1 }) => {
      const names = Object.keys(parts)
      const sizes = Object.values(parts)
      const sum = (counts: number[]) => counts.reduce((total, count) => total + count, 0)
      const before = sum(sizes.slice(0, names.indexOf(module)))
      const [run, stride] = [parts[module]!, sum(sizes)]
      return {
        path: `${place}${tensor}.${ending}`,
        shape: [stride * times, ...shape.slice(1)],
        rows: (isPlain) =>
          isPlain
            ? { first: before * times, count: run * times, run: run * times, stride: stride * times }
            : { first: before, count: run * times, run, stride },
      }
    })
}

function checkShape(found: LocatedTensor, own: readonly number[], transposed: boolean): void {
  const expected = transposed ? own.toReversed() : own
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
