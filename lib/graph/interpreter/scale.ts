import type { Rule } from './call.js'

export const scale: Rule = (call) => {
  const factor = call.number('factor')
  return { y: call.floats('x').map((value) => factor * value) }
}
