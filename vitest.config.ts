import { defineConfig } from 'vitest/config'

// Another Node for the tests than vitest's own: vitest forks the program named here.
if (process.env.KVASIR_TEST_NODE) process.execPath = process.env.KVASIR_TEST_NODE

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
