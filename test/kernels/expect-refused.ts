import { expect } from 'vitest'

/** Expects that `act` is refused for the value, or the shape, of an argument. */
export function expectRefused(act: () => unknown, message: RegExp): void {
  let error: (Error & { code?: string }) | undefined
  try {
    act()
  } catch (thrown) {
    error = thrown as Error & { code?: string }
  }
  expect(error?.code, `${error}`).toMatch(/^ERR_(INVALID_ARG_VALUE|SHAPE)$/)
  expect(error?.message).toMatch(message)
}
