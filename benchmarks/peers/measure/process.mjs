// A contender's process: does what its parent asks for, one thing after another.
import { answerParent } from './answer-parent.mjs'
import { Phases } from './phases.mjs'

answerParent(new Phases())
