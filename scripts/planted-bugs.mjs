// Bugs as one writes them, each a change to a kernel of the project, and how it must be found: by wrong numbers, by the
// emulator or by a sanitizer. scripts/test-vectors.mjs plants them.

const attention = 'native/kernels/attention/attention.cuda.cu'
const attentionHopper = 'native/kernels/attention/attention-hopper.cuda.cu'
const linear = (name) => `native/kernels/linear/linear-${name}.cuda.cu`

/** How a run of the conformance binary ends. */
const isWrong = ({ status, output }) => status === 1 && /^FAILED /m.test(output)
const says =
  (text) =>
  ({ status, output }) =>
    status !== 0 && output.includes(text)
const isRace = says('WARNING: ThreadSanitizer: data race')

const lazy = { COPIES: 'lazy' }
const eager = { COPIES: 'eager' }

/**
 * Each: in `file`, below native, `from` becomes `to`; `sources` are compiled for `variant`, and the vectors that `filter`
 * names run on `device` (0: architecture 80, 1: 90) with each of `settings` (the
 * emulator's variables, without KVASIR_EMULATED_); `found` says whether the bug was.
 */
export const plantedBugs = [
  {
    bug: 'missing barrier: keys overwritten while other warps read them',
    file: 'kernels/attention/attention-prefill.cuh',
    from: '__syncthreads();  // the values are there, the keys done with',
    to: '',
    sources: [attention],
    variant: 'thread',
    filter: 'attention, bf16, 4 of 1 x 64',
    found: isRace,
  },
  {
    bug: 'missing wait: values read before they came',
    file: 'kernels/attention/attention-prefill.cuh',
    from: 'ptx::wait_for_copies<0>();\n      __syncthreads();  // the values are there',
    to: '__syncthreads();  // the values are there',
    sources: [attention],
    filter: 'attention, bf16, 4 of 1 x 64',
    settings: [lazy],
    found: isWrong,
  },
  {
    bug: 'wrong mask: a row sees the key after its own',
    file: 'kernels/attention/attention-rows.cuh',
    from: ', position + 1};',
    to: ', position + 2};',
    sources: [attention],
    filter: 'attention, bf16, 2 of 1 x 128',
    found: isWrong,
  },
  {
    bug: 'wrong mask: a window of one key too many',
    file: 'kernels/attention/attention-rows.cuh',
    from: 'position - a.window + 1',
    to: 'position - a.window',
    sources: [attention],
    filter: 'window 65',
    found: isWrong,
  },
  {
    bug: 'wrong mask: left out where only some rows see all keys',
    file: 'kernels/attention/attention-prefill.cuh',
    from: '{visible_keys(a, rows, last).first, visible_keys(a, rows, first).last}',
    to: '{visible_keys(a, rows, first).first, visible_keys(a, rows, last).last}',
    sources: [attention],
    filter: 'attention, bf16, 2 of 1 x 128',
    found: isWrong,
  },
  {
    bug: 'missing barrier: the next split overwrites slots that are read',
    file: 'kernels/attention/attention-decode.cuh',
    from: '__syncthreads();  // the slots are done with',
    to: '',
    sources: [attention],
    variant: 'thread',
    filter: 'attention, bf16, 520 tokens',
    settings: [{ MULTIPROCESSORS: 1 }],
    found: isRace,
  },
  {
    bug: 'out of bounds: values beyond the shared memory',
    file: 'kernels/attention/attention-decode.cuh',
    from: 'return i < slots ? i : i - slots;',
    to: 'return i;',
    sources: [attention],
    filter: 'attention, bf16, 2 of 1 x 256',
    found: says('shared memory'),
  },
  {
    bug: 'missing wait: one copy too few on Hopper',
    file: 'kernels/attention/attention-hopper-consumer.cuh',
    from: 'wait_for(TilePart::kValues, tile + 1);\n',
    to: '\n',
    sources: [attentionHopper],
    device: 1,
    filter: 'attention, bf16, 600 tokens',
    settings: [lazy],
    found: isWrong,
  },
  {
    bug: 'reuse before read: values released while wgmma reads them',
    file: 'kernels/attention/attention-hopper-consumer.cuh',
    from: 'ptx::wgmma_wait<0>();\n    ptx::pin(flat(w.split.y));\n    ptx::pin(flat(w.p));\n    release(TilePart::kValues, tile);',
    to: 'release(TilePart::kValues, tile);\n    ptx::wgmma_wait<0>();\n    ptx::pin(flat(w.split.y));\n    ptx::pin(flat(w.p));',
    sources: [attentionHopper],
    variant: 'thread',
    device: 1,
    filter: 'attention, bf16, 600 tokens',
    found: isRace,
  },
  {
    bug: 'missing wait: one copy too few',
    file: 'kernels/linear/linear-prefill.cuh',
    from: 'ptx::wait_for_copies<kPrefillStages - 2>();',
    to: 'ptx::wait_for_copies<kPrefillStages - 1>();',
    sources: [linear('prefill')],
    filter: 'linear, bf16, 130 to 31',
    settings: [lazy],
    found: isWrong,
  },
  {
    bug: 'reuse before read: a stage is filled while it is read',
    file: 'kernels/linear/linear-middle.cuh',
    from: '__syncthreads();\n    ring.fetch(',
    to: 'ring.fetch(',
    sources: [linear('middle')],
    variant: 'thread',
    filter: 'linear, bf16, slices',
    found: isRace,
  },
  {
    bug: 'reuse before read: a piece is filled while other lanes read it',
    file: 'kernels/linear/linear-stream.cuh',
    from: '__syncwarp();\n      weights.fetch();',
    to: 'weights.fetch();',
    sources: [linear('stream')],
    variant: 'thread',
    filter: 'linear, f32, 4104 to 24',
    found: isRace,
  },
  {
    bug: 'missing wait: stages are filled before they are free, on Hopper',
    file: 'kernels/linear/linear-hopper-copies.cuh',
    from: 'ptx::mbarrier_wait(this->empty(at.stage), at.parity ^ 1);',
    to: '',
    sources: [linear('hopper')],
    device: 1,
    filter: 'linear, bf16, 520 to 200',
    settings: [lazy, eager],
    found: says('barrier'),
  },
  {
    bug: 'reuse before read: a stage is released while wgmma reads it',
    file: 'kernels/linear/linear-hopper.cuh',
    from: 'ptx::wgmma_wait<1>();',
    to: 'ptx::wgmma_wait<2>();',
    sources: [linear('hopper')],
    variant: 'thread',
    device: 1,
    filter: 'linear, bf16, 520 to 200',
    found: isRace,
  },
  {
    bug: 'out of bounds: outputs beyond the last',
    file: 'kernels/linear/linear-epilogue.cuh',
    from: 'if (count >= 4 && reinterpret_cast<uintptr_t>(p) % kBytes == 0) {\n    if constexpr (sizeof(T) == 4) {\n      *reinterpret_cast<float4*>(p) = v;',
    to: 'if (reinterpret_cast<uintptr_t>(p) % kBytes == 0) {\n    if constexpr (sizeof(T) == 4) {\n      *reinterpret_cast<float4*>(p) = v;',
    sources: [linear('prefill'), linear('stream'), linear('middle')],
    filter: 'linear, bf16, 130 to 31',
    found: isWrong,
  },
  {
    bug: 'out of bounds: a group of 8 beyond the row',
    file: 'kernels/layer-norm/norm-row.cuh',
    from: 'for (; c + kGroup <= row.C; c += step) {',
    to: 'for (; c < row.C; c += step) {',
    sources: ['native/kernels/layer-norm/layer-norm.cuda.cu', 'native/kernels/rms-norm/rms-norm.cuda.cu'],
    filter: 'norms, bf16',
    found: isWrong,
  },
  {
    bug: 'missing wait: a kernel that does not wait for its predecessor',
    file: 'kernels/kv-append/kv-append.cuh',
    from: 'ptx::wait_for_predecessor();',
    to: '',
    sources: ['native/kernels/kv-append/kv-append.cuda.cu'],
    device: 1,
    filter: 'model llama, bf16',
    found: says('no thread called wait_for_predecessor'),
  },
  {
    bug: 'missing wait: what the predecessor writes is read before the wait for it',
    file: 'kernels/linear/linear-stream.cuh',
    from: 'ptx::wait_for_predecessor();\n  load_input(input, m, x, parameters);',
    to: 'load_input(input, m, x, parameters);\n  ptx::wait_for_predecessor();',
    sources: [linear('stream')],
    variant: 'thread',
    device: 1,
    filter: 'model llama, bf16',
    found: isRace,
  },
  {
    bug: 'missing barrier: a block arrives before its warps have written',
    file: 'kernels/sample/sample.cuh',
    from: '__threadfence();\n  __syncthreads();\n  if (threadIdx.x == 0) {',
    to: '__threadfence();\n  if (threadIdx.x == 0) {',
    sources: ['native/kernels/sample/sample.cuda.cu'],
    variant: 'thread',
    filter: 'sample, bf16, of 4097',
    settings: [{ MULTIPROCESSORS: 16 }],
    found: isRace,
  },
]
