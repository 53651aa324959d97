// GPT-2 and Llama as ONNX graphs with a cache of keys and values, as transformers.js names their inputs and outputs. Only
// the last token's logits are computed.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { OnnxFile } from './onnx-file.mjs'
import { OnnxGraph } from './onnx-graph.mjs'
import { dimensions } from './shapes.mjs'

const microsoft = 'com.microsoft'
/** An element type's number, as Cast takes it. */
const int64 = 7

/** @param {'fp32' | 'q4'} type of matrices; embeddings are fp32 in both */
export function writeOnnxModel(path, checkpoint, type) {
  mkdirSync(dirname(path), { recursive: true })
  const file = new OnnxFile(path)
  const sizes = dimensions(checkpoint.config)
  const build = checkpoint.config.model_type === 'gpt2' ? buildGpt2 : buildLlama
  const graph = new OnnxGraph(file, { checkpoint, type, sizes })
  const logits = build(graph)
  file.output(logits, 'float', ['batch_size', 1, sizes.V])
  file.finish()
}

/** What transformers.js reads beside the graphs. */
export function writeOnnxConfig(folder, config) {
  mkdirSync(folder, { recursive: true })
  const external = { 'transformers.js_config': { use_external_data_format: true } }
  const write = (name, json) => writeFileSync(join(folder, name), `${JSON.stringify(json, null, 2)}\n`)
  write('config.json', { ...config, ...external })
  write('generation_config.json', { do_sample: false })
}

function buildGpt2(graph) {
  const { file, sizes } = graph
  const norm = (name, x) =>
    file.node('LayerNormalization', name, [x, graph.vector(`${name}.weight`), graph.vector(`${name}.bias`)], {
      attributes: { axis: { int: -1 }, epsilon: { float: 1e-5 } },
    })
  const tokens = file.node('Gather', 'token_embeddings', [graph.table('wte.weight'), graph.ids])
  const places = file.node('Gather', 'place_embeddings', [graph.table('wpe.weight'), positions(graph)])
  let x = file.node('Add', 'embeddings', [tokens, places])
  for (let layer = 0; layer < sizes.L; layer++) {
    const at = (name) => `h.${layer}.${name}`
    const qkv = graph.linear(at('attn.c_attn'), norm(at('ln_1'), x), { bias: true })
    const attended = graph.attention(layer, [qkv, '', ''])
    x = file.node('Add', at('residual_1'), [x, graph.linear(at('attn.c_proj'), attended, { bias: true })])
    const hidden = graph.linear(at('mlp.c_fc'), norm(at('ln_2'), x), { bias: true })
    const active = file.node('FastGelu', at('gelu'), [hidden], { domain: microsoft })
    x = file.node('Add', at('residual_2'), [x, graph.linear(at('mlp.c_proj'), active, { bias: true })])
  }
  return graph.tiedHead(norm('ln_f', graph.lastToken(x)), 'wte.weight')
}

/** From the number of cached tokens on, (tokens,). */
function positions(graph) {
  const { file } = graph
  const tokens = graph.dimension('tokens', graph.ids)
  const total = graph.cast('total_tokens_again', graph.totalTokens, int64)
  const step = file.constant('step', 'int64', { dims: [], values: [1] })
  return file.node('Range', 'positions', [file.node('Sub', 'past_tokens', [total, tokens]), total, step])
}

function buildLlama(graph) {
  const { file, sizes, config } = graph
  const norm = (name, x) =>
    file.node('SimplifiedLayerNormalization', name, [x, graph.vector(`${name}.weight`)], {
      attributes: { axis: { int: -1 }, epsilon: { float: config.rms_norm_eps } },
    })
  const rotary = rotaryTables(graph)
  let x = file.node('Gather', 'embeddings', [graph.table('embed_tokens.weight'), graph.ids])
  for (let layer = 0; layer < sizes.L; layer++) {
    const at = (name) => `layers.${layer}.${name}`
    const input = norm(at('input_layernorm'), x)
    const qkv = ['q_proj', 'k_proj', 'v_proj'].map((name) => graph.linear(at(`self_attn.${name}`), input))
    const attended = graph.attention(layer, qkv, { rotary })
    x = file.node('Add', at('residual_1'), [x, graph.linear(at('self_attn.o_proj'), attended)])
    const middle = norm(at('post_attention_layernorm'), x)
    const gate = graph.linear(at('mlp.gate_proj'), middle)
    const active = file.node('Mul', at('silu'), [gate, file.node('Sigmoid', at('sigmoid'), [gate])])
    const hidden = file.node('Mul', at('gated'), [active, graph.linear(at('mlp.up_proj'), middle)])
    x = file.node('Add', at('residual_2'), [x, graph.linear(at('mlp.down_proj'), hidden)])
  }
  return graph.tiedHead(norm('norm', graph.lastToken(x)), 'embed_tokens.weight')
}

/** Cosines and sines, each (positions, D/2). */
function rotaryTables({ file, sizes: { D, positions }, config }) {
  const angles = Float64Array.from({ length: positions * (D / 2) }, (_, i) => {
    const [position, pair] = [Math.floor(i / (D / 2)), i % (D / 2)]
    return position * config.rope_theta ** ((-2 * pair) / D)
  })
  const table = (name, of) =>
    file.weight(name, 'float', { dims: [positions, D / 2], chunks: [Float32Array.from(angles, of)] })
  return [table('cosines', Math.cos), table('sines', Math.sin)]
}
