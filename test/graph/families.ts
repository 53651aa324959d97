import type { Graph, ValueId } from '#kvasir/graph/graph.js'
import { GraphBuilder } from './graph-builder.js'

export interface FamilyOptions {
  numLayers?: number
  /** A window for every second layer. */
  alternatingWindow?: number
}

/** A small LLaMA as its model file records it: RMSNorm, rotary positions, grouped heads, SwiGLU, untied head. */
export function recordLlama({ numLayers = 3 }: FamilyOptions = {}): Graph {
  const [V, C, F, heads, kvHeads, headSize] = [50, 32, 88, 4, 2, 8]
  const b = new GraphBuilder()
  let x = b.embedding('embed_tokens', b.input('tokens'), b.weight('embed_tokens.weight', [V, C]))
  let table: ValueId | undefined
  for (let i = 0; i < numLayers; i++) {
    const layer = `layers.${i}`
    const attn = `${layer}.self_attn`
    const normed = b.rmsNorm(`${layer}.input_layernorm`, x)
    const q = b.linear(`${attn}.q_proj`, normed, heads * headSize)
    table ??= b.ropeTable('rotary', [1, 0.1, 0.01, 0.001]) // where it is first asked for
    const k = b.linear(`${attn}.k_proj`, normed, kvHeads * headSize)
    const v = b.linear(`${attn}.v_proj`, normed, kvHeads * headSize)
    const [rotatedQ, rotatedK] = [b.rope(attn, q, table, heads), b.rope(attn, k, table, kvHeads)]
    const y = b.attention(attn, rotatedQ, rotatedK, v, { heads, kvHeads, headSize })
    x = b.add(layer, x, b.linear(`${attn}.o_proj`, y, C))
    const fed = b.rmsNorm(`${layer}.post_attention_layernorm`, x)
    const gate = b.linear(`${layer}.mlp.gate_proj`, fed, F)
    const up = b.linear(`${layer}.mlp.up_proj`, fed, F)
    const hidden = b.activation(`${layer}.mlp`, gate, 'silu', up)
    x = b.add(layer, x, b.linear(`${layer}.mlp.down_proj`, hidden, C))
  }
  return b.finish({ logits: b.linear('lm_head', b.rmsNorm('norm', b.gatherRows('', x)), V) })
}

/** A small GPT-2: LayerNorm, learned positions, one projection for queries, keys and values, tied head. */
export function recordGpt2({ numLayers = 3, alternatingWindow = 0 }: FamilyOptions = {}): Graph {
  const [V, C, heads, headSize] = [50, 32, 4, 8]
  const b = new GraphBuilder()
  const tokens = b.embedding('wte', b.input('tokens'), b.weight('wte.weight', [V, C]))
  let x = b.add('', tokens, b.embedding('wpe', b.input('positions'), b.weight('wpe.weight', [64, C])))
  const mlp = (path: string, input: ValueId) => {
    const hidden = b.activation(path, b.linear(`${path}.c_fc`, input, 4 * C, { bias: true }), 'gelu-tanh')
    return b.linear(`${path}.c_proj`, hidden, C, { bias: true })
  }
  for (let i = 0; i < numLayers; i++) {
    const layer = `h.${i}`
    const attn = `${layer}.attn`
    const whole = b.linear(`${attn}.c_attn`, b.layerNorm(`${layer}.ln_1`, x), 3 * C, { bias: true })
    const [q, k, v] = [0, 1, 2].map((part) => b.slice(attn, whole, part * C, C))
    const window = i % 2 === 1 ? alternatingWindow : 0
    const y = b.attention(attn, q, k, v, { heads, kvHeads: heads, headSize, window })
    x = b.add(layer, x, b.linear(`${attn}.c_proj`, y, C, { bias: true }))
    x = b.add(layer, x, mlp(`${layer}.mlp`, b.layerNorm(`${layer}.ln_2`, x)))
  }
  const normed = b.layerNorm('ln_f', b.gatherRows('', x))
  return b.finish({ logits: b.linear('lm_head', normed, V, { tiedTo: 'wte' }) })
}
