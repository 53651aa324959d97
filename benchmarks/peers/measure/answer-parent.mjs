/** Has the parent process call `phases`' methods by their names, one after another. */
export function answerParent(phases) {
  process.on('message', async ({ phase, options }) => {
    try {
      process.send({ result: await phases[phase](options) })
    } catch (error) {
      process.send({ error: String(error?.message ?? error) })
    }
  })
  // A parent that is gone asks for nothing more.
  process.on('disconnect', () => process.exit())
}
