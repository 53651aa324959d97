// Prints one list of native/sources.json for binding.gyp: `native-sources.cjs kernels`, `native-sources.cjs flags common`
// or `native-sources.cjs isas x64 avx2`.
const sources = require('../native/sources.json')

const found = process.argv.slice(2).reduce((list, name) => list?.[name], sources)
if (!found) throw new Error(`native/sources.json has no ${process.argv.slice(2).join(' ')}`)
console.log(Array.isArray(found) ? found.join(' ') : found)
