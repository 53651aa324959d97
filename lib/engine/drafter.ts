import { Acceptance } from './acceptance.js'
import type { DraftOffer } from './draft-allocation.js'
import type { GenerateRequest } from './messages.js'
import type { Match } from './prompt-lookup.js'
import { PromptLookup } from './prompt-lookup.js'
import type { Sequence } from './sequence.js'

/** Guesses of one text in one step. */
const mostDrafts = 8

/** What guesses come from: matches of 2, of 3, and of more tokens, and the draft model. */
const sources = ['pair', 'triple', 'longer', 'model'] as const
type Source = (typeof sources)[number]

/** Believed of each until there is experience; rather too much than too little, so that it is tried. */
const beliefs: Record<Source, number> = { pair: 0.5, triple: 0.65, longer: 0.8, model: 0.85 }

/** Guesses that count of all texts, and of one. */
const sharedMemory = 256
const ownMemory = 16

export type Acceptances = Readonly<Record<Source, Acceptance>>

/** What is known of guesses in all texts. */
export function sharedAcceptances(): Acceptances {
  return acceptancesOf((source) => new Acceptance(beliefs[source], sharedMemory))
}

function acceptancesOf(make: (source: Source) => Acceptance): Acceptances {
  return Object.fromEntries(sources.map((source) => [source, make(source)])) as Record<Source, Acceptance>
}

/** Where a text's guesses would come from now. */
export interface Offer extends DraftOffer {
  source: Source
  match: Match | undefined
}

/** The guesses of one text: what has been learned of them, and those to be verified with the next step. */
export class Drafter {
  readonly sequence: Sequence
  readonly request: GenerateRequest
  /** Of the guesses verified last. */
  right = 0
  readonly #lookup: PromptLookup
  readonly #acceptances: Acceptances
  #drafts: readonly number[] = []
  #source: Source = 'pair'
  /** The length that the text had when they were made. */
  #decidedAt = -1

  constructor(sequence: Sequence, request: GenerateRequest, shared: Acceptances) {
    this.sequence = sequence
    this.request = request
    this.#lookup = new PromptLookup(sequence.ids)
    this.#acceptances = acceptancesOf((source) => new Acceptance(shared[source], ownMemory))
  }

  /** Whether it has been decided what to guess after the text's present end. */
  get isDecided(): boolean {
    return this.#decidedAt === this.sequence.ids.length
  }

  /** What could be guessed: the likelier of what the text itself says and a draft model, which may guess `modelled` tokens. */
  offer(most: number, modelled: number): Offer | undefined {
    const offers: Offer[] = []
    const match = this.#lookup.find()
    if (match && most > 0) {
      const source = match.length === 2 ? 'pair' : match.length === 3 ? 'triple' : 'longer'
      offers.push({ ...this.#offerOf(source, most), match })
    }
    if (most > 0 && modelled > 0)
      offers.push({ ...this.#offerOf('model', Math.min(most, modelled)), match: undefined })
    return offers.sort((a, b) => b.acceptance - a.acceptance)[0]
  }

  /** Takes `count` guesses of an offer; those of a draft model come with `setDrafts`. */
  decide(offer: Offer | undefined, count: number): void {
    this.#decidedAt = this.sequence.ids.length
    this.#drafts = []
    if (!offer) return
    this.#source = offer.source
    if (count === 0) this.#acceptances[offer.source].pass()
    else if (offer.match) this.#drafts = this.#lookup.read(offer.match, count)
  }

  setDrafts(ids: readonly number[]): void {
    this.#drafts = ids
  }

  /** The guesses that may be verified now. */
  drafts(most: number): readonly number[] {
    return this.isDecided ? this.#drafts.slice(0, Math.max(0, most)) : []
  }

  learn(drafted: number, right: number): void {
    this.right = right
    this.#acceptances[this.#source].learn(drafted, right)
  }

  #offerOf(source: Source, most: number) {
    const isModelled = source === 'model'
    const acceptance = this.#acceptances[source].probability
    return { source, acceptance, most: Math.min(most, mostDrafts), isModelled }
  }
}
