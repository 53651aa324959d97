import { setTimeout as sleep } from 'node:timers/promises'

/** What of one processor counts as idle. */
const idleShare = 0.1
const idleWindowMs = 20
const longestWaitMs = 10_000

/**
 * How long work goes on after an abort that is due `dueMs` after its start: until the call settles, and until the process
 * computes no more. Where the event loop is blocked, `abort()` itself comes late; that counts. `settledMs` is negative
 * where the work was done before.
 */
export async function measureAbort(runner, options) {
  const settledMs = await measureSettling(runner, options)
  return { settledMs, idleMs: settledMs + (await untilIdle()) }
}

/** Until the call settles, alone. */
export async function measureSettling(runner, { ids, maxTokens, dueMs }) {
  const controller = new AbortController()
  const start = performance.now()
  let from = start + dueMs
  const timer = setTimeout(() => {
    from = Math.min(from, performance.now()) // timers may be early by less than a millisecond
    controller.abort()
  }, dueMs)
  await runner.generate(ids, { maxTokens, signal: controller.signal }).catch((error) => {
    if (!controller.signal.aborted) throw error
  })
  clearTimeout(timer)
  return performance.now() - from
}

/** Milliseconds from now to the start of the first window without much use of processors. */
async function untilIdle() {
  const start = performance.now()
  let window = { at: start, used: processorMs() }
  while (performance.now() - start < longestWaitMs) {
    await sleep(1)
    const now = performance.now()
    const used = processorMs()
    if (used - window.used > idleShare * idleWindowMs) window = { at: now, used }
    else if (now - window.at >= idleWindowMs) return window.at - start
  }
  return Number.POSITIVE_INFINITY
}

function processorMs() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
