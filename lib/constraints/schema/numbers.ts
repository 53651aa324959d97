import { byteClasses } from '../automaton/byte-classes.js'
import { Dfa, intersect, toDfa } from '../automaton/dfa.js'
import { type Budget, unsatisfiable, unsupported } from '../budget.js'
import { ByteSet } from '../byte-set.js'
import { bytes, choice, empty, type Grammar, literal, nothing, repeat, sequence } from '../grammar.js'
import { anyInteger, anyNumber, maxIntegerDigits } from './json-text.js'
import { at, has, type Leaf } from './place.js'

/**
 * Digits after the point of a number with bounds: integers and fractions together have at most 15 digits, so that
 * different ones are different doubles, and text in the range is a double in the range.
 */
const maxFractionDigits = 12
const digit = bytes(ByteSet.ascii('0123456789'))

/** Numbers times 10^`scale`, both ends included; null where there is no bound. */
interface Bounds {
  readonly min: bigint | null
  readonly max: bigint | null
  readonly scale: number
}

export function numberGrammar(leaves: readonly Leaf[], isInteger: boolean, budget: Budget): Grammar {
  const divisors = leaves.filter((leaf) => has(leaf, 'multipleOf'))
  const scale = isInteger || divisors.length > 0 ? 0 : fractionDigits(leaves)
  const bounds = readBounds(leaves, scale)
  if (divisors.length > 0) return multiples(divisors, bounds, budget)
  if (bounds.min === null && bounds.max === null) return isInteger ? anyInteger : anyNumber
  const grammar = inRange(bounds)
  const where = at(leaves[0]!.pointer)
  if (grammar === nothing) throw unsatisfiable(where, 'no number of at most 15 digits is within its bounds')
  return grammar
}

const boundKeywords = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'] as const

function fractionDigits(leaves: readonly Leaf[]): number {
  const values = leaves.flatMap((leaf) =>
    boundKeywords.filter((keyword) => has(leaf, keyword)).map((keyword) => Math.abs(leaf.schema[keyword]!)),
  )
  const integerDigits = BigInt(Math.floor(Math.min(Math.max(0, ...values), 1e15))).toString().length
  return Math.max(0, Math.min(maxFractionDigits, maxIntegerDigits - integerDigits))
}

function readBounds(leaves: readonly Leaf[], scale: number): Bounds {
  let [min, max]: [bigint | null, bigint | null] = [null, null]
  for (const leaf of leaves) {
    for (const keyword of boundKeywords.filter((each) => has(leaf, each))) {
      const isLower = keyword.endsWith('inimum')
      const bound = scaled(leaf.schema[keyword]!, scale, isLower, keyword.startsWith('exclusive'))
      if (isLower) min = min === null || bound > min ? bound : min
      else max = max === null || bound < max ? bound : max
    }
  }
  return { min, max, scale }
}

/** A double times 10^`scale`, rounded into the range that it bounds. */
function scaled(value: number, scale: number, isLower: boolean, isExclusive: boolean): bigint {
  const { digits, exponent } = decimalOf(value)
  const shift = exponent + scale
  if (shift >= 0) {
    const exact = digits * 10n ** BigInt(shift)
    return isExclusive ? exact + (isLower ? 1n : -1n) : exact
  }
  const unit = 10n ** BigInt(-shift)
  const below = digits / unit - (digits < 0n && digits % unit !== 0n ? 1n : 0n)
  const isExact = digits % unit === 0n
  if (isLower) return isExact && !isExclusive ? below : below + 1n
  return isExact && isExclusive ? below - 1n : below
}

/** The shortest decimal that is read as this double: digits times 10^exponent. */
function decimalOf(value: number): { digits: bigint; exponent: number } {
  const [mantissa, exponent] = value.toExponential().split('e') as [string, string]
  const fraction = mantissa.split('.')[1] ?? ''
  return { digits: BigInt(mantissa.replace('.', '')), exponent: Number(exponent) - fraction.length }
}

const absolute = (value: bigint) => (value < 0n ? -value : value)

/** Decimals without exponent from `min` to `max`, of at most 15 digits before the point. */
function inRange({ min, max, scale }: Bounds): Grammar {
  const largest = 10n ** BigInt(maxIntegerDigits + scale) - 1n
  const low = min === null || min < -largest ? -largest : min
  const high = max === null || max > largest ? largest : max
  if (low > high) return nothing
  const positive = high < 0n ? nothing : magnitudes(low > 0n ? low : 0n, high, scale)
  const negative =
    low >= 0n
      ? nothing
      : sequence(literal('-'), magnitudes(high < 0n ? absolute(high) : 0n, absolute(low), scale))
  return choice(positive, negative)
}

/** Decimals from `low` to `high`, neither of them negative. */
function magnitudes(low: bigint, high: bigint, scale: number): Grammar {
  const split = (value: bigint): [string, string] => {
    const digits = value.toString().padStart(scale + 1, '0')
    return [digits.slice(0, digits.length - scale), digits.slice(digits.length - scale)]
  }
  const [lowInteger, lowFraction] = split(low)
  const [highInteger, highFraction] = split(high)
  const nines = '9'.repeat(scale)
  if (lowInteger === highInteger) return sequence(literal(lowInteger), fraction(lowFraction, highFraction))
  const between = integers(BigInt(lowInteger) + 1n, BigInt(highInteger) - 1n)
  return choice(
    sequence(literal(lowInteger), fraction(lowFraction, nines)),
    sequence(between, fraction('0'.repeat(scale), nines)),
    sequence(literal(highInteger), fraction('0'.repeat(scale), highFraction)),
  )
}

/** What may stand after the integer: nothing, or a point and at least one digit. */
function fraction(low: string, high: string): Grammar {
  const isZero = /^0*$/.test(low)
  const digits = low.length === 0 ? nothing : sequence(literal('.'), fractionDigitsIn(low, high, true))
  return choice(isZero ? empty : nothing, digits)
}

/** Digits that, zeros added, are from `low` to `high`, which are of the same length. */
function fractionDigitsIn(low: string, high: string, isFirst: boolean): Grammar {
  const mayEnd = !isFirst && /^0*$/.test(low)
  if (low.length === 0) return empty
  const isFree = /^0*$/.test(low) && /^9*$/.test(high)
  if (isFree) return repeat(digit, isFirst ? 1 : 0, low.length)
  const [first, last] = [Number(low[0]), Number(high[0])]
  const [lowRest, highRest] = [low.slice(1), high.slice(1)]
  const zeros = '0'.repeat(lowRest.length)
  const nines = '9'.repeat(lowRest.length)
  const options =
    first === last
      ? [step(first, first, lowRest, highRest)]
      : [
          step(first, first, lowRest, nines),
          step(first + 1, last - 1, zeros, nines),
          step(last, last, zeros, highRest),
        ]
  return choice(mayEnd ? empty : nothing, ...options)
}

function step(first: number, last: number, low: string, high: string): Grammar {
  if (first > last) return nothing
  return sequence(digitsFrom(first, last), fractionDigitsIn(low, high, false))
}

function digitsFrom(first: number, last: number): Grammar {
  return bytes(ByteSet.range(0x30 + first, 0x30 + last))
}

/** Integers without leading zeros from `low` to `high`, neither of them negative. */
function integers(low: bigint, high: bigint): Grammar {
  if (low > high) return nothing
  const options: Grammar[] = []
  for (let length = low.toString().length; length <= high.toString().length; length++) {
    const least = length === 1 ? 0n : 10n ** BigInt(length - 1)
    const most = 10n ** BigInt(length) - 1n
    options.push(sameLength(String(low > least ? low : least), String(high < most ? high : most)))
  }
  return choice(...options)
}

/** Digits from `low` to `high`, which are of the same length. */
function sameLength(low: string, high: string): Grammar {
  if (low.length === 0) return empty
  if (/^0*$/.test(low) && /^9*$/.test(high)) return repeat(digit, low.length, low.length)
  const [first, last] = [Number(low[0]), Number(high[0])]
  const [lowRest, highRest] = [low.slice(1), high.slice(1)]
  if (first === last) return sequence(digitsFrom(first, first), sameLength(lowRest, highRest))
  const zeros = '0'.repeat(lowRest.length)
  const nines = '9'.repeat(lowRest.length)
  const middle =
    first + 1 > last - 1 ? nothing : sequence(digitsFrom(first + 1, last - 1), sameLength(zeros, nines))
  return choice(
    sequence(digitsFrom(first, first), sameLength(lowRest, nines)),
    middle,
    sequence(digitsFrom(last, last), sameLength(zeros, highRest)),
  )
}

/** Largest divisor that an automaton, with a state for each remainder, is made for. */
const maxDivisor = 1000
/** Multiples that are rather listed. */
const maxListed = 1000n

function multiples(leaves: readonly Leaf[], bounds: Bounds, budget: Budget): Grammar {
  const where = at(`${leaves[0]!.pointer}/multipleOf`)
  const divisor = leaves.map(({ schema }) => schema.multipleOf!).reduce(leastCommonMultiple)
  if (!Number.isSafeInteger(divisor)) throw unsupported(where, 'a divisor that is no integer')
  const wide = 10n ** BigInt(maxIntegerDigits) - 1n
  const low = bounds.min === null || bounds.min < -wide ? -wide : bounds.min
  const high = bounds.max === null || bounds.max > wide ? wide : bounds.max
  const by = BigInt(divisor)
  const first = ceilDivide(low, by)
  const last = -ceilDivide(-high, by)
  if (first > last) throw unsatisfiable(where, 'no multiple is within the bounds')
  if (last - first < maxListed) {
    const values = Array.from({ length: Number(last - first) + 1 }, (_, i) =>
      String((first + BigInt(i)) * by),
    )
    return choice(...values.map(literal))
  }
  if (divisor > maxDivisor) throw unsupported(where, `a divisor above ${maxDivisor} with so many multiples`)
  const range = toDfa(inRange({ min: low, max: high, scale: 0 }), budget.part(maxNumberStates), where)
  const dfa = intersect(range, multiplesDfa(divisor), budget.part(maxNumberStates), where)
  return { kind: 'automaton', dfa }
}

const maxNumberStates = 20_000

function ceilDivide(value: bigint, by: bigint): bigint {
  return value / by + (value > 0n && value % by !== 0n ? 1n : 0n)
}

function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b]
  while (y > 0 && Number.isInteger(x) && Number.isInteger(y)) [x, y] = [y, x % y]
  return (a / x) * b
}

/** An optional sign and digits whose remainder is 0; state 0 is the beginning, 1 + r the remainder r. */
function multiplesDfa(divisor: number): Dfa {
  const digits = Array.from({ length: 10 }, (_, i) => ByteSet.of(0x30 + i))
  const classes = byteClasses([...digits, ByteSet.ascii('-')])
  const numClasses = classes.members.length
  const next = new Int32Array((divisor + 2) * numClasses).fill(-1)
  const signed = divisor + 1
  for (let state = 0; state < divisor + 2; state++) {
    const remainder = state === 0 || state === signed ? 0 : state - 1
    for (let value = 0; value < 10; value++)
      next[state * numClasses + classes.of[0x30 + value]!] = 1 + ((remainder * 10 + value) % divisor)
  }
  next[classes.of[0x2d]!] = signed
  return new Dfa(
    classes,
    Array.from({ length: divisor + 2 }, (_, state) => state === 1),
    next,
  )
}
