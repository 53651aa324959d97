import { contenders, installedVersion } from '../peers/contenders.mjs'

/** As node-llama-cpp calls them. */
const ggufTypes = { f32: 'f32', q8: 'q8_0', q4: 'q4_0' }
/** Texts at once; the last, of Kvasir's alone, shows what its own work between steps comes to. */
const counts = [1, 8, 16]
const manyTexts = 64

/** Who is compared in a type of weights: a contender and how many texts it is measured with. */
export function configurations(type, { alone }) {
  const named = (name) => contenders.find((one) => one.name === name)
  const kvasir = named(`kvasir-${type}`)
  const peer = named(`node-llama-cpp-${ggufTypes[type]}`)
  const withPeer = !alone && installedVersion(peer.package) !== null
  return [
    ...counts.flatMap((count) =>
      [kvasir, ...(withPeer ? [peer] : [])].map((contender) => ({ contender, count })),
    ),
    { contender: kvasir, count: manyTexts },
  ]
}
