// Prints one list of native/sources.json for binding.gyp: `native-sources.cjs kernels` or `native-sources.cjs flags avx2`.
const sources = require('../native/sources.json')

const [list, name] = process.argv.slice(2)
console.log(list === 'flags' ? sources.flags[name] : sources[list].join(' '))
