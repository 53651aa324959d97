import type { Rule } from './call.js'

export const softcap: Rule = (call) => {
  const cap = call.number('cap')
  return { y: call.floats('x').map((value) => cap * Math.tanh(value / cap)) }
}
