// What choosing tokens takes at the end of a step, with a vocabulary of GPT-2's size: the plain program, and the one with
// all controls, by what a row asks of it. The lists and tokens are the interpreter's, before anything is timed.

import { Interpreter } from '../dist/graph/interpreter.js'
import { withControlledSampling, withSampling } from '../dist/graph/passes/index.js'
import { Recording } from '../dist/graph/recording.js'
import { addon } from '../dist/native/addon.js'
import { median, printTable } from './statistics.mjs'

const V = 50_257
const rowCounts = [1, 16]
const most = 64
const rounds = 15
const stepsOfRound = 60
/** A step of GPT-2 124M with weights in q8, on two cores: what a row's controls are to be small beside. */
const gpt2StepUs = 4000

/** What rows ask for, by name; `controlled` those that the plain program does not know. */
const plainCases = {
  'plain, greedy': { temperature: 0 },
  'plain, temperature': { temperature: 0.8 },
  'plain, top-k 40 and top-p 0.95': { temperature: 0.8, topK: 40, topP: 0.95 },
}
const controlledCases = {
  'controls, none asked for': { temperature: 0.8 },
  '200 edits': { temperature: 0.8, edits: 200 },
  'a mask': { temperature: 0.8, masked: true },
  'top 20': { temperature: 0.8, top: 20 },
  'typical 0.9': { temperature: 0.8, typicalP: 0.9 },
  forced: { temperature: 0.8, forced: 17 },
  '200 edits, mask, top-k 40, top-p, top 20': {
    temperature: 0.8,
    topK: 40,
    topP: 0.95,
    edits: 200,
    masked: true,
    top: 20,
  },
}

/** Rows of logits that a step's tokens choose, and a tail that `tail` adds. */
function graphOf(tail) {
  const recording = new Recording()
  const tokens = recording.input('tokens').id
  const rows = Math.max(...rowCounts)
  const weight = recording.weight('logits', [rows, V]).id
  const output = (shape) => ({ y: { shape, dtype: 'f32' } })
  const x = recording.node({ op: 'embedding', inputs: { ids: tokens, weight }, outputs: output(['N', V]) }).y
    .id
  const inputs = { x, rows: recording.input('outputRows').id }
  const { y } = recording.node({ op: 'gather-rows', inputs, outputs: output(['R', V]) })
  recording.graph.outputs.logits = y.id
  recording.graph.values[weight].layout = 'rows'
  return tail(recording.graph)
}

/** As models give them: most of the mass on some hundred tokens. */
function modelLogits() {
  let state = 1
  const uniform = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return (state + 0.5) / 2 ** 32
  }
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())
  return Float32Array.from({ length: Math.max(...rowCounts) * V }, () => 2.5 * normal() - 30)
}

function inputsOf(
  R,
  { temperature, topK = 0, topP = 1, typicalP = 1, forced = -1, edits = 0, masked, top = 0 },
) {
  const each = (value) => Int32Array.from({ length: R }, (_, r) => value(r))
  const words = Math.ceil(V / 32)
  const E = R * edits
  return {
    tokens: each((r) => r),
    outputRows: each((r) => r),
    temperature: new Float32Array(R).fill(temperature),
    topK: each(() => topK),
    topP: new Float32Array(R).fill(topP),
    minP: new Float32Array(R),
    typicalP: new Float32Array(R).fill(typicalP),
    seed: new Int32Array(2 * R),
    counter: each((r) => r),
    forced: each(() => forced),
    editStarts: Int32Array.from({ length: R + 1 }, (_, r) => r * edits),
    editIds: Int32Array.from({ length: E }, (_, e) => ((e % edits) * 7919 + 13) % V),
    editFactors: new Float32Array(E).fill(1.1),
    editOffsets: new Float32Array(E).fill(-0.5),
    maskRows: each((r) => (masked ? r : -1)),
    masks: new Int32Array(masked ? R * words : 0).fill(0x7ff7ffef),
    topCounts: each(() => top),
  }
}

class Sampler {
  constructor(backend, store, tail) {
    const rows = Math.max(...rowCounts)
    this.graph = graphOf(tail)
    const limits = {
      maxTokens: rows,
      maxRows: rows,
      maxSequences: 1,
      maxBlocks: 1,
      maxEdits: 200 * rows,
      maxMasks: rows,
    }
    this.program = new (addon().Program)(backend, store, null, this.graph, limits)
  }

  run(inputs) {
    const R = inputs.outputRows.length
    const outputs = {}
    for (const [name, id] of Object.entries(this.graph.outputs)) {
      const { dtype, shape } = this.graph.values[id]
      outputs[name] = new (dtype === 'i32' ? Int32Array : Float32Array)(R * (shape[1] ?? 1))
    }
    this.program.run(inputs, outputs, null)
    return outputs
  }

  /** Median microseconds of a step. */
  time(inputs) {
    const outputs = this.run(inputs)
    const started = performance.now()
    for (let i = 0; i < stepsOfRound; i++) this.program.run(inputs, outputs, null)
    return (1000 * (performance.now() - started)) / stepsOfRound
  }
}

function verify(name, sampler, logits, inputs) {
  const expected = new Interpreter(sampler.graph, { weights: () => logits }).run(inputs)
  const found = sampler.run(inputs)
  for (const output of Object.keys(found)) {
    found[output].forEach((number, i) => {
      const other = expected[output][i]
      if (number !== other && !(Math.abs(number - other) < 1e-5))
        throw new Error(`bench: ${name}: ${output}[${i}] is ${number}, the interpreter has ${other}`)
    })
  }
}

export async function benchSampling() {
  const backend = new (addon().Backend)({ device: 'cpu', threads: addon().cpuInfo().processors })
  const store = new (addon().WeightStore)(backend)
  const logits = modelLogits()
  const rows = Math.max(...rowCounts)
  store.declare({ name: 'logits', dtype: 'f32', layout: 'rows', rows, cols: V })
  store.loadValues('logits', logits)
  const plain = new Sampler(backend, store, withSampling)
  const controlled = new Sampler(backend, store, (graph) => withControlledSampling(graph, { most }))
  // What the rows of logits cost to get there, which is no part of a model's step.
  const base = new Sampler(backend, store, listsNothing)
  for (const R of rowCounts) {
    const cases = [
      ['', base, inputsOf(R, { temperature: 0 })],
      ...Object.entries(plainCases).map(([name, asked]) => [name, plain, inputsOf(R, asked)]),
      ...Object.entries(controlledCases).map(([name, asked]) => [name, controlled, inputsOf(R, asked)]),
    ]
    for (const [name, sampler, inputs] of cases) verify(name, sampler, logits, inputs)
    const times = cases.map(() => [])
    for (let round = 0; round < rounds; round++)
      cases.forEach(([, sampler, inputs], i) => {
        times[i].push(sampler.time(inputs))
      })
    const read = Math.max(...Array.from({ length: 5 }, () => backend.probeRead(256 << 20)))
    const [baseUs, ...us] = times.map(median)
    console.log(`${R} row${R > 1 ? 's' : ''} of ${V}, ${backend.isa}, ${backend.threads} threads`)
    printTable([
      ['', 'us', 'logits GB/s', 'of DRAM read', 'of a GPT-2 step'],
      ...us.map((time, i) => {
        const own = time - baseUs
        const rate = (4 * R * V) / (own * 1e-6)
        const share = R === 1 ? `${((100 * own) / gpt2StepUs).toFixed(2)} %` : ''
        const ofRead = `${((100 * rate) / read).toFixed(0)} %`
        return [cases[i + 1][0], own.toFixed(1), (rate / 1e9).toFixed(1), ofRead, share]
      }),
    ])
  }
}

/** Rows of logits, and lists of 0 tokens of them. */
function listsNothing(graph) {
  const listed = withControlledSampling(graph, { most })
  const { logits } = graph.outputs
  const top = listed.nodes.at(-1)
  const values = [...graph.values]
  const add = (value) => values.push({ ...value, id: values.length }) - 1
  const counts = add(listed.values[top.inputs.counts])
  const topIds = add(listed.values[top.outputs.topIds])
  const topLogprobs = add(listed.values[top.outputs.topLogprobs])
  const node = { ...top, inputs: { logits, allowed: logits, counts }, outputs: { topIds, topLogprobs } }
  return { values, nodes: [...graph.nodes, node], outputs: { topIds } }
}
