// The columns that tables are made of: a heading, and a cell for a contender that was measured.
import { over } from './results.mjs'

const megabytes = (bytes) => (bytes / 1e6).toFixed(0)
const percent = (share) => `${(100 * share).toFixed(0)} %`
const milliseconds = (value) => (Number.isFinite(value) ? value.toFixed(value < 10 ? 1 : 0) : '> 10 s')

const middle = (row, pick) => over(row, pick).median
const most = (row, pick) => over(row, pick).most
const slashed = (cells) => cells.join(' / ')
const phases = ['loading', 'prefill', 'decode']

/** `9.5 (9.1-9.9)`, or `9.5` of one round. */
function withSpread(row, pick, digits) {
  const { median, least, most } = over(row, pick)
  const [middle, from, to] = [median, least, most].map((value) => value.toFixed(digits))
  return row.rounds.length > 1 ? `${middle} (${from}-${to})` : middle
}

export const columns = {
  prefill: { heading: 'prefill tok/s', cell: (row) => withSpread(row, (round) => round.prefillRate, 0) },
  prefillShare: {
    heading: 'of arithmetic',
    cell: (row) => percent(middle(row, (round) => round.prefillShare)),
  },
  decode: { heading: 'decode tok/s', cell: (row) => withSpread(row, (round) => round.decodeRate, 1) },
  decodeShare: { heading: 'of reads', cell: (row) => percent(middle(row, (round) => round.decodeShare)) },
  load: { heading: 'load ms', cell: (row) => milliseconds(middle(row, (round) => round.loadMs)) },
  memory: {
    heading: 'MB loaded / peak',
    cell: (row) =>
      slashed([
        megabytes(middle(row, (round) => round.loadedBytes)),
        megabytes(middle(row, (round) => round.peakBytes)),
      ]),
  },
  mapped: {
    heading: 'of it mapped',
    cell: (row) => megabytes(middle(row, (round) => round.loadedMappedBytes)),
  },
  delayTail: {
    heading: 'loop p99 ms: load / prefill / decode',
    cell: (row) =>
      slashed(phases.map((phase) => milliseconds(middle(row, (round) => round.delays[phase].p99Ms)))),
  },
  delay: {
    heading: 'loop max ms: load / prefill / decode',
    cell: (row) =>
      slashed(phases.map((phase) => milliseconds(most(row, (round) => round.delays[phase].maxMs)))),
  },
  abort: {
    heading: 'abort ms: prefill / decode',
    cell: (row) =>
      slashed(
        ['prefill', 'decode'].map((phase) =>
          milliseconds(middle(row, (round) => round.aborts[phase].settledMs)),
        ),
      ),
  },
  idle: {
    heading: 'idle ms: prefill / decode',
    cell: (row) =>
      slashed(
        ['prefill', 'decode'].map((phase) =>
          milliseconds(middle(row, (round) => round.aborts[phase].idleMs)),
        ),
      ),
  },
}

/** Why a contender has no figures; null where it has. */
export function absence({ status, reason }) {
  return status === 'measured' ? null : `${status}: ${reason}`
}
