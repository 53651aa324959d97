import { Random } from '../graph/random.js'
import type { Contents, Tensor, Value } from './gguf-writer.js'

const [width, ffn, vocab, heads, kvHeads, layers] = [32, 64, 40, 4, 2, 1]

/** The tokens of a small SentencePiece vocabulary. */
export const pieces = [
  ...['<unk>', '<s>', '</s>'],
  ...['\u2581', 'a', 'b', 'c', 'd', 'ab', 'cd', 'abcd', '\u2581a', '\u2581ab', '\u2581abcd'],
  ...Array.from({ length: vocab - 14 }, (_, i) => `<0x${(0x41 + i).toString(16).toUpperCase()}>`),
]

/** A LLaMA so small that tests can write thousands of it, in f32, with a vocabulary. */
export function smallLlama(): Contents {
  const random = new Random(1)
  const tensor = (name: string, ...dims: number[]): Tensor => {
    const numbers = Float32Array.from({ length: dims.reduce((a, b) => a * b) }, () => random.next() - 0.5)
    return { name, dims, type: 0, data: new Uint8Array(numbers.buffer) }
  }
  const headSize = width / heads
  const values: Value[] = [
    ['general.architecture', 'string', 'llama'],
    ['llama.context_length', 'u32', 64],
    ['llama.embedding_length', 'u32', width],
    ['llama.feed_forward_length', 'u32', ffn],
    ['llama.block_count', 'u32', layers],
    ['llama.attention.head_count', 'u32', heads],
    ['llama.attention.head_count_kv', 'u32', kvHeads],
    ['llama.attention.layer_norm_rms_epsilon', 'f32', 1e-5],
    ['tokenizer.ggml.model', 'string', 'llama'],
    ['tokenizer.ggml.tokens', 'array', ['string', pieces]],
    ['tokenizer.ggml.scores', 'array', ['f32', pieces.map((_, i) => -i)]],
    [
      'tokenizer.ggml.token_type',
      'array',
      ['i32', pieces.map((p, i) => (i === 0 ? 2 : i < 3 ? 3 : p.startsWith('<0x') ? 6 : 1))],
    ],
    ['tokenizer.ggml.bos_token_id', 'u32', 1],
    ['tokenizer.ggml.eos_token_id', 'u32', 2],
  ]
  const tensors = [
    tensor('token_embd.weight', width, vocab),
    tensor('output_norm.weight', width),
    tensor('blk.0.attn_norm.weight', width),
    tensor('blk.0.attn_q.weight', width, width),
    tensor('blk.0.attn_k.weight', width, kvHeads * headSize),
    tensor('blk.0.attn_v.weight', width, kvHeads * headSize),
    tensor('blk.0.attn_output.weight', width, width),
    tensor('blk.0.ffn_norm.weight', width),
    tensor('blk.0.ffn_gate.weight', width, ffn),
    tensor('blk.0.ffn_up.weight', width, ffn),
    tensor('blk.0.ffn_down.weight', ffn, width),
  ]
  return { values, tensors }
}
