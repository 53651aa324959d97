import { noPositions, rotary } from '../nn/index.js'
import { boolean, integer, limits, malformed, readFields } from './config.js'
import { readLayerMasks } from './layer-masks.js'
import { Llama, LlamaLayer } from './llama.js'
import { readLlamaConfig } from './llama-config.js'

type SmolLM3Config = ReturnType<typeof readSmolLM3Config>

/**
 * SmolLM3: a LLaMA of which every fourth layer has no positions.
 *
 * Bakouch et al. 2025, https://huggingface.co/blog/smollm3; layers without positions: Yang et al. 2025,
 * https://arxiv.org/abs/2501.18795
 */
export class SmolLM3 extends Llama<SmolLM3Config> {
  static override readConfig = readSmolLM3Config

  protected override layer(index: number) {
    const { rope, rotates, masks } = this.config
    const positions = rotates[index] ? rotary(rope) : noPositions()
    return new LlamaLayer({ ...this.config, attention: { positions, mask: masks[index] } })
  }
}

/** Defaults are those of Hugging Face's SmolLM3Config. */
function readSmolLM3Config(json: Record<string, unknown>) {
  const config = readLlamaConfig(json, {
    vocab_size: 128256,
    hidden_size: 2048,
    num_hidden_layers: 36,
    num_attention_heads: 16,
    num_key_value_heads: 4,
    max_position_embeddings: 32768,
    rope_theta: 2e6,
    tie_word_embeddings: true,
  })
  const layers = config.num_hidden_layers
  const rotates = readRotates(json, layers)
  const { use_sliding_window, sliding_window } = readFields(json, {
    use_sliding_window: boolean(false),
    sliding_window: integer(limits.positions, null),
  })
  const masks = readLayerMasks(json, layers, use_sliding_window ? sliding_window : null, (i) => !rotates[i])
  return { ...config, rotates, masks }
}

/** Which layers rotate: `no_rope_layers` lists 1 for those that do, in spite of its name. */
function readRotates(json: Record<string, unknown>, layers: number): boolean[] {
  const { no_rope_layer_interval: interval } = readFields(json, {
    no_rope_layer_interval: integer(limits.layers, 4),
  })
  const list = json.no_rope_layers ?? null
  if (list === null) return Array.from({ length: layers }, (_, i) => (i + 1) % interval !== 0)
  if (!Array.isArray(list) || list.length !== layers)
    throw malformed('no_rope_layers', `a list of ${layers} numbers, 1 or 0`, list)
  return list.map((flag, i) => {
    if (flag === 0 || flag === 1) return flag === 1
    throw malformed(`no_rope_layers[${i}]`, '1 or 0', flag)
  })
}
