import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'

const resolutionMs = 1

/** Runs `body`; returns what it returned, and how late timers of this thread were meanwhile. */
export async function watchEventLoop(body) {
  const delay = monitorEventLoopDelay({ resolution: resolutionMs })
  delay.enable()
  await sleep(5 * resolutionMs) // delays count from the second timer on
  const result = await body()
  await sleep(2 * resolutionMs) // a freeze that just ended counts once its timer has run
  delay.disable()
  const ms = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - resolutionMs) // the timer's own period is counted
  return {
    result,
    delay: { p50Ms: ms(delay.percentile(50)), p99Ms: ms(delay.percentile(99)), maxMs: ms(delay.max) },
  }
}
