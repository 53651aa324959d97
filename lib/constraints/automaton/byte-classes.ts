import type { ByteSet } from '../byte-set.js'

/** A partition of the 256 bytes into classes that no set of an automaton tells apart. */
export interface ByteClasses {
  /** Class of each byte. */
  readonly of: Uint8Array
  /** The bytes of each class. */
  readonly members: number[][]
}

export function byteClasses(sets: Iterable<ByteSet>): ByteClasses {
  const distinct = new Map<string, ByteSet>()
  for (const set of sets) distinct.set(set.key, set)
  // Each set splits the classes so far into what it holds and what it does not.
  let classes = [Array.from({ length: 256 }, (_, byte) => byte)]
  for (const set of distinct.values()) {
    if (classes.length === 256) break
    classes = classes.flatMap((members) => {
      const inside = members.filter((byte) => set.has(byte))
      return inside.length === 0 || inside.length === members.length
        ? [members]
        : [inside, members.filter((byte) => !set.has(byte))]
    })
  }
  const of = new Uint8Array(256)
  classes.forEach((members, index) => {
    for (const byte of members) of[byte] = index
  })
  return { of, members: classes }
}
