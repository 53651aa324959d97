// As much of the protocol buffers' encoding as ONNX files need. Fields are given by their numbers.

function varint(value) {
  const bytes = []
  let rest = BigInt.asUintN(64, BigInt(value))
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128)
    rest >>= 7n
  }
  bytes.push(Number(rest))
  return Buffer.from(bytes)
}

const tag = (field, wireType) => varint(field * 8 + wireType)

/** A whole number. */
export function integer(field, value) {
  return Buffer.concat([tag(field, 0), varint(value)])
}

/** A number of 32 bits with a fraction. */
export function float(field, value) {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return Buffer.concat([tag(field, 5), bytes])
}

/** A string, bytes, or a message's parts. */
export function bytes(field, ...parts) {
  const content = Buffer.concat(parts.flat().map((part) => Buffer.from(part)))
  return Buffer.concat([tag(field, 2), varint(content.length), content])
}
