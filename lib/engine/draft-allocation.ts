/** A text of which tokens could be guessed. */
export interface DraftOffer {
  /** The probability that a guess is right, given that those before it are. */
  acceptance: number
  /** Tokens that can be guessed. */
  most: number
  /** Whether a draft model has to be run for them. */
  isModelled: boolean
}

export interface DraftBudget {
  /** Texts that the step continues. */
  sequences: number
  /** Guesses of all texts together. */
  most: number
  /** Expected milliseconds of a step that feeds so many tokens. */
  stepMs(tokens: number): number
  /** Expected milliseconds of a draft model's guessing so many tokens, of all modelled texts together. */
  draftMs(depth: number): number
}

/** What is gained must be more than what measuring times gets wrong. */
const leastGain = 1.03

/**
 * How many tokens to guess of each text, so that most tokens a millisecond are to be expected.
 *
 * The j-th guess of a text that accepts with probability p is worth p^j tokens. Of all choices of n guesses, the n that are
 * worth most gain most; so every n is looked at, and the best is taken: none, where none gains. Leviathan et al. 2023,
 * https://arxiv.org/abs/2211.17192, section 3.3, has this for one text and a constant cost.
 */
export function allocateDrafts(offers: readonly DraftOffer[], budget: DraftBudget): number[] {
  const { sequences, most, stepMs, draftMs } = budget
  const guesses = offers.flatMap(({ acceptance, most: own, isModelled }, text) =>
    Array.from({ length: own }, (_, i) => ({
      text,
      depth: i + 1,
      worth: acceptance ** (i + 1),
      isModelled,
    })),
  )
  guesses.sort((a, b) => b.worth - a.worth || a.depth - b.depth)
  let best = 0
  let bestRate = (leastGain * sequences) / stepMs(sequences)
  let tokens = sequences
  let depth = 0
  for (const [i, guess] of guesses.slice(0, Math.max(0, most)).entries()) {
    tokens += guess.worth
    if (guess.isModelled) depth = Math.max(depth, guess.depth)
    const rate = tokens / (stepMs(sequences + i + 1) + draftMs(depth))
    if (rate <= bestRate) continue
    best = i + 1
    bestRate = rate
  }
  const counts = offers.map(() => 0)
  for (const { text } of guesses.slice(0, best)) counts[text]!++
  return counts
}
