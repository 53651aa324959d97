// A contender's process: does what its parent asks for, one thing after another.
import { Phases } from './phases.mjs'

const phases = new Phases()

process.on('message', async ({ phase, options }) => {
  try {
    process.send({ result: await phases[phase](options) })
  } catch (error) {
    process.send({ error: String(error?.message ?? error) })
  }
})

// A parent that is gone asks for nothing more.
process.on('disconnect', () => process.exit())
