import { KvasirError } from '../errors.js'
import { Parameter } from '../ops/tensor.js'
import { Module } from './module.js'

/** The modules and parameters that a module's fields lead to, in order, each once and with its first path. */
export interface Tree {
  modules: Map<Module<unknown>, string>
  parameters: Map<Parameter, string>
}

/** A parameter as a checkpoint knows it. */
export interface NamedParameter {
  /** Module path, e.g. `h.0.attn.c_attn.weight`. */
  path: string
  shape: readonly number[]
}

/**
 * Names a module's tree. One that is reachable in two ways keeps the path of the field declared first.
 *
 * @throws {KvasirError} when two parameters come to the same path
 */
export function treeOf(root: Module<unknown>): Tree {
  const tree: Tree = { modules: new Map(), parameters: new Map() }
  visit(root, '', tree, new Set())
  const paths = new Set<string>()
  for (const path of tree.parameters.values()) {
    if (paths.has(path)) throw twoOfOnePath(path)
    paths.add(path)
  }
  return tree
}

function twoOfOnePath(path: string): KvasirError {
  return new KvasirError(
    'ERR_INVALID_ARG_VALUE',
    `model: ${path} must be one parameter, got two of that path`,
  )
}

/** The parameters of a model, for its checkpoint. A tied one is listed once. */
export function parameters(model: Module<unknown>): NamedParameter[] {
  return [...treeOf(model).parameters].map(([{ shape }, path]) => ({ path, shape }))
}

function visit(value: unknown, path: string, tree: Tree, containers: Set<object>): void {
  if (value instanceof Parameter) {
    if (!tree.parameters.has(value)) tree.parameters.set(value, path)
  } else if (value instanceof Module) {
    if (tree.modules.has(value)) return
    tree.modules.set(value, path)
    for (const [name, child] of Object.entries(value)) {
      if (name !== 'config') visit(child, join(path, name), tree, containers)
    }
  } else if (isContainer(value) && !containers.has(value)) {
    containers.add(value)
    for (const name of Object.keys(value)) visit(value[name], join(path, name), tree, containers)
  }
}

function isContainer(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  return Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}
