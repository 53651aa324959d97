/** What docs/families.md should hold. */
export function familiesDocument(): string
