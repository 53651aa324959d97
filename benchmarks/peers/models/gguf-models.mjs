// GPT-2 and Llama as GGUF files, with the names and metadata that llama.cpp asks for.
import { writeGguf } from './gguf-file.mjs'
import { ggufTypes } from './number-formats.mjs'
import { dimensions } from './shapes.mjs'

const gpt2 = {
  top: { 'wte.weight': 'token_embd.weight', 'wpe.weight': 'position_embd.weight', ln_f: 'output_norm' },
  layers: 'h',
  layer: {
    ln_1: 'attn_norm',
    'attn.c_attn': 'attn_qkv',
    'attn.c_proj': 'attn_output',
    ln_2: 'ffn_norm',
    'mlp.c_fc': 'ffn_up',
    'mlp.c_proj': 'ffn_down',
  },
  endings: ['weight', 'bias'],
  values: () => [['gpt2.attention.layer_norm_epsilon', 'f32', 1e-5]],
  preTokenizer: 'gpt-2',
}

const llama = {
  top: { 'embed_tokens.weight': 'token_embd.weight', norm: 'output_norm' },
  layers: 'layers',
  layer: {
    input_layernorm: 'attn_norm',
    'self_attn.q_proj': 'attn_q',
    'self_attn.k_proj': 'attn_k',
    'self_attn.v_proj': 'attn_v',
    'self_attn.o_proj': 'attn_output',
    post_attention_layernorm: 'ffn_norm',
    'mlp.gate_proj': 'ffn_gate',
    'mlp.up_proj': 'ffn_up',
    'mlp.down_proj': 'ffn_down',
  },
  endings: ['weight'],
  values: ({ KH, D }, config) => [
    ['llama.attention.head_count_kv', 'u32', KH],
    ['llama.attention.layer_norm_rms_epsilon', 'f32', config.rms_norm_eps],
    ['llama.rope.dimension_count', 'u32', D],
    ['llama.rope.freq_base', 'f32', config.rope_theta],
    ['llama.vocab_size', 'u32', config.vocab_size],
  ],
  preTokenizer: 'llama-bpe',
}

const families = { gpt2, llama }

/** Writes a checkpoint as a GGUF file whose matrices are all of one type, but for positions, as llama.cpp has them. */
export function writeGgufModel(path, checkpoint, type) {
  const { config } = checkpoint
  const family = families[config.model_type]
  const sizes = dimensions(config)
  writeGguf(path, {
    values: [
      ['general.architecture', 'string', config.model_type],
      ['general.name', 'string', 'random weights'],
      ['general.file_type', 'u32', ggufTypes[type].fileType],
      ...sizeValues(config.model_type, sizes),
      ...family.values(sizes, config),
      ...vocabulary(sizes.V, family.preTokenizer),
    ],
    tensors: tensorNames(family, sizes.L).map(([from, name]) => {
      const shape = checkpoint.shape(from)
      const isSmall = shape.length === 1 || name.startsWith('position_embd')
      const chunks = () => rowsInOrder(checkpoint, from, sizes)
      return { name, shape, type: isSmall ? 'f32' : type, chunks }
    }),
  })
}

function sizeValues(family, { C, F, L, H, positions }) {
  return [
    [`${family}.context_length`, 'u32', positions],
    [`${family}.embedding_length`, 'u32', C],
    [`${family}.feed_forward_length`, 'u32', F],
    [`${family}.block_count`, 'u32', L],
    [`${family}.attention.head_count`, 'u32', H],
  ]
}

/** `[checkpoint's name, GGUF's name]` of every tensor. */
function tensorNames({ top, layers, layer, endings }, L) {
  const withEndings = (from, to) =>
    from.endsWith('.weight')
      ? [[from, to]]
      : endings.map((ending) => [`${from}.${ending}`, `${to}.${ending}`])
  return [
    ...Object.entries(top).flatMap(([from, to]) => withEndings(from, to)),
    ...Array.from({ length: L }, (_, i) =>
      Object.entries(layer).flatMap(([from, to]) => withEndings(`${layers}.${i}.${from}`, `blk.${i}.${to}`)),
    ).flat(),
  ]
}

/** Rows as llama.cpp wants them: it rotates neighbours, where the checkpoint rotates a head's two halves. */
function rowsInOrder(checkpoint, name, { D }) {
  if (!/\.[qk]_proj\.weight$/.test(name)) return checkpoint.chunks(name)
  const values = checkpoint.read(name)
  const [rows, cols] = checkpoint.shape(name)
  const result = new Float32Array(values.length)
  for (let row = 0; row < rows; row++) {
    const inHead = row % D
    const from = row - inHead + (inHead >> 1) + (inHead % 2) * (D / 2)
    result.set(values.subarray(from * cols, (from + 1) * cols), row * cols)
  }
  return [result]
}

/** A made-up vocabulary: the byte alphabet, one merge, and as many tokens more as there are to be. */
function vocabulary(size, preTokenizer) {
  const alphabet = byteAlphabet()
  const tokens = [...alphabet, 'ab']
  while (tokens.length < size - 1) tokens.push(`<${tokens.length}>`)
  tokens.push('<|end|>')
  return [
    ['tokenizer.ggml.model', 'string', 'gpt2'],
    ['tokenizer.ggml.pre', 'string', preTokenizer],
    ['tokenizer.ggml.tokens', 'array', { type: 'string', elements: tokens }],
    [
      'tokenizer.ggml.token_type',
      'array',
      { type: 'i32', elements: tokens.map((_, i) => tokenType(i, size)) },
    ],
    ['tokenizer.ggml.merges', 'array', { type: 'string', elements: ['a b'] }],
    ['tokenizer.ggml.bos_token_id', 'u32', size - 1],
    ['tokenizer.ggml.eos_token_id', 'u32', size - 1],
  ]
}

const tokenType = (id, size) => (id === size - 1 ? 3 : 1) // control, or normal

/** GPT-2's characters for the 256 bytes: printable ones stand for themselves, the others from U+0100 on. */
function byteAlphabet() {
  const isPrintable = (byte) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173)
  let others = 0
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCodePoint(isPrintable(byte) ? byte : 256 + others++),
  )
}
