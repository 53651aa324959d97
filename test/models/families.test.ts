import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Graph } from '#kvasir/graph/graph.js'
import { Interpreter } from '#kvasir/graph/interpreter.js'
import { optimize } from '#kvasir/graph/passes/index.js'
import { modelFor } from '#kvasir/models/registry.js'
import { record } from '#kvasir/nn/index.js'
import { randomWeights } from '../graph/graph-builder.js'
import type { StepInputs } from '../graph/steps.js'
import { isas, NativeProgram } from '../kernels/native-program.js'
import { nmse } from '../kernels/numbers.js'
import { rootDir } from '../shared.js'
import { readJson, readWeights } from './checkpoint-weights.js'

const fixtures = join(rootDir, 'test', 'fixtures')
const names = readdirSync(fixtures).filter((name) => existsSync(join(fixtures, name, 'golden.json')))

/** One sequence, all rows wanted. */
function stepOf(ids: readonly number[]): StepInputs {
  const indices = Int32Array.from(ids, (_, i) => i)
  return {
    tokens: Int32Array.from(ids),
    positions: indices,
    queryStarts: Int32Array.of(0, ids.length),
    contextLengths: Int32Array.of(ids.length),
    blockTables: Int32Array.of(0, 1),
    outputRows: indices,
  }
}

// What the passes make of a family computes what its model file says, which is what the golden has.
describe.each(names)('the interpreter on %s', (name) => {
  it('gives the golden logits, recorded and fused', async () => {
    const { ids, logits, contextLength } = readJson(fixtures, name, 'golden.json')
    const model = modelFor(readJson(fixtures, name, 'config.json'), { contextLength })
    const weights = await readWeights(join(fixtures, name), model)
    const recorded = record(model)
    for (const graph of [recorded, optimize(recorded)]) {
      const found = new Interpreter(graph, { weights }).run(stepOf(ids)).logits!
      const worst = logits.reduce(
        (max: number, x: number, i: number) => Math.max(max, Math.abs(x - found[i]!)),
        0,
      )
      expect(worst).toBeLessThan(1e-7)
    }
  })
})

/** Heads of 40 channels, nine of them share three or one; nothing is a multiple of a tile. */
const odd = {
  hidden_size: 72,
  intermediate_size: 90,
  num_hidden_layers: 2,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  head_dim: 40,
  max_position_embeddings: 64,
  sliding_window: 7,
}
/** For families whose heads make up their width. */
const whole = {
  ...odd,
  hidden_size: 120,
  num_attention_heads: 3,
  num_key_value_heads: 1,
  head_dim: undefined,
}
const longRope = { type: 'longrope', short_factor: Array(20).fill(1.5), long_factor: Array(20).fill(4) }

const families: [string, Record<string, unknown>][] = [
  ['gptj', { n_embd: 120, n_layer: 2, n_head: 3, n_positions: 64, rotary_dim: 22 }],
  ['gpt_neox', { ...whole, rotary_pct: 0.25 }],
  ['opt', { ...whole, ffn_dim: 90, word_embed_proj_dim: 50 }],
  ['bloom', { hidden_size: 120, n_layer: 2, n_head: 3 }],
  ['llama', odd],
  ['mistral', odd],
  ['qwen2', { ...whole, use_sliding_window: true, max_window_layers: 1 }],
  ['qwen3', odd],
  ['phi3', { ...odd, original_max_position_embeddings: 32, rope_scaling: longRope }],
  ['gemma', odd],
  ['gemma2', odd],
  ['gemma3', { text_config: { ...odd, sliding_window_pattern: 2 } }],
  ['smollm3', { ...odd, no_rope_layers: [1, 0] }],
  ['olmo2', odd],
  ['mixtral', { ...odd, num_local_experts: 5, num_experts_per_tok: 3 }],
  [
    'qwen3_moe',
    { ...odd, moe_intermediate_size: 33, num_experts: 9, num_experts_per_tok: 4, mlp_only_layers: [0] },
  ],
]

function withVocabulary(type: string, config: Record<string, unknown>, vocab_size: number) {
  const { text_config: text } = config
  return text
    ? { model_type: type, text_config: { ...(text as object), vocab_size } }
    : { model_type: type, ...config, vocab_size }
}

describe.each(families)('%s of odd sizes', (type, config) => {
  it.each([13, 50257])('with a vocabulary of %i', (vocabulary) => {
    const graph: Graph = record(modelFor(withVocabulary(type, config, vocabulary)))
    const weights = randomWeights(graph, 5)
    const isSmall = vocabulary === 13
    const ids = Array.from({ length: isSmall ? 37 : 4 }, (_, i) => (i * 4099 + 7) % vocabulary)
    const step = stepOf(ids)
    const truth = new Interpreter(graph, { weights }).run(step).logits!
    for (const isa of isSmall ? isas : isas.slice(0, 1)) {
      using program = new NativeProgram(graph, weights, { isa, threads: 2, maxTokens: 64, numBlocks: 2 })
      expect(nmse(program.run(step).logits as Float32Array, truth), isa).toBeLessThan(1e-9)
    }
  })
})
