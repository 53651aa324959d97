// Writes the inputs that fuzzing starts from: small files of every kind that the formats know. `npm run fuzz` finds what
// lies between them; of that, what reaches new code is kept beside them.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const corpus = join(dirname(fileURLToPath(import.meta.url)), '..', 'test', 'fuzz', 'corpus')

function write(format, name, bytes) {
  mkdirSync(join(corpus, format), { recursive: true })
  writeFileSync(join(corpus, format, name), bytes)
}

// --- safetensors ---

function safetensors(header, dataBytes) {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(json.length))
  return Buffer.concat([prefix, json, Buffer.alloc(dataBytes, 0x3c)])
}

const tensor = (dtype, shape, begin, end) => ({ dtype, shape, data_offsets: [begin, end] })

write('safetensors', 'empty', safetensors('{}', 0))
write(
  'safetensors',
  'floats',
  safetensors({ a: tensor('F32', [2, 3], 0, 24), b: tensor('F16', [4], 24, 32) }, 32),
)
write(
  'safetensors',
  'scalar',
  safetensors({ a: tensor('BF16', [], 0, 2), none: tensor('I64', [0, 5], 2, 2) }, 2),
)
write('safetensors', 'padded', safetensors(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}   `, 3))
write(
  'safetensors',
  'escaped',
  safetensors('{"\\u00e9\\n":{"dtype":"BOOL","shape":[1,1,1],"data_offsets":[0,1]}}', 1),
)
write(
  'safetensors',
  'nibbles',
  safetensors({ a: tensor('F4', [2, 2], 0, 2), b: tensor('F6_E2M3', [4], 2, 5) }, 5),
)
for (const [type, bytes] of [
  ['q8', 34],
  ['q4', 20],
]) {
  const metadata = { format: 'pt', 'kvasir.blocks:w': type }
  write(
    'safetensors',
    type,
    safetensors({ __metadata__: metadata, w: tensor('U8', [3, bytes], 0, 3 * bytes) }, 3 * bytes),
  )
}

// --- GGUF ---

const u32 = (value) => Buffer.from(Uint32Array.of(value).buffer)
const u64 = (value) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer)
const text = (value) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)])
const value = (key, type, ...parts) => Buffer.concat([text(key), u32(type), ...parts])
const array = (key, type, ...elements) => value(key, 9, u32(type), u64(elements.length), ...elements)

function gguf({ values = [], tensors = [], version = 3, alignment = 32 }) {
  const pad = (bytes) =>
    Buffer.concat([bytes, Buffer.alloc((alignment - (bytes.length % alignment)) % alignment, 0x2c)])
  let offset = 0
  const infos = tensors.map(({ name, dims, type, bytes }) => {
    const info = [text(name), u32(dims.length), ...dims.map(u64), u32(type), u64(offset)]
    offset += pad(Buffer.alloc(bytes)).length
    return Buffer.concat(info)
  })
  const counts = [u64(tensors.length), u64(values.length)]
  const header = Buffer.concat([Buffer.from('GGUF'), u32(version), ...counts, ...values, ...infos])
  return Buffer.concat([pad(header), ...tensors.map(({ bytes }) => pad(Buffer.alloc(bytes, 0x2c)))])
}

const sizes = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8]
const plain = sizes.flatMap((size, type) =>
  size > 0 ? [value(`v.${type}`, type, Buffer.alloc(size, 1))] : [],
)
const lists = sizes.flatMap((size, type) =>
  size > 0 ? [array(`l.${type}`, type, Buffer.alloc(size, 1), Buffer.alloc(size))] : [],
)
const vocabulary = [
  value('general.architecture', 8, text('llama')),
  array('tokenizer.ggml.tokens', 8, text('<s>'), text('a'), text('\u00e9')),
  array('tokenizer.ggml.scores', 6, ...[0, -1, -2].map((x) => Buffer.from(Float32Array.of(x).buffer))),
]
write('gguf', 'empty', gguf({}))
write(
  'gguf',
  'version-2',
  gguf({ version: 2, values: [value('general.alignment', 4, u32(8))], alignment: 8 }),
)
write('gguf', 'values', gguf({ values: plain }))
write('gguf', 'arrays', gguf({ values: lists }))
write(
  'gguf',
  'vocabulary',
  gguf({ values: vocabulary, tensors: [{ name: 't', dims: [2, 3], type: 0, bytes: 24 }] }),
)
write(
  'gguf',
  'split',
  gguf({ values: ['split.no', 'split.count', 'split.tensors.count'].map((key, i) => value(key, 4, u32(i))) }),
)
const blocks = { 2: 18, 3: 20, 6: 22, 7: 24, 8: 34, 20: 18, 39: 17 }
const superblocks = { 10: 84, 11: 110, 12: 144, 13: 176, 14: 210, 23: 136 }
for (const [numbers, types] of [
  [32, blocks],
  [256, superblocks],
]) {
  for (const [type, bytes] of Object.entries(types))
    write(
      'gguf',
      `type-${type}`,
      gguf({ tensors: [{ name: 'w', dims: [numbers, 3], type: Number(type), bytes: 3 * bytes }] }),
    )
}
write(
  'gguf',
  'halves',
  gguf({
    tensors: [
      { name: 'f', dims: [5], type: 1, bytes: 10 },
      { name: 'b', dims: [3, 2], type: 30, bytes: 12 },
    ],
  }),
)
