// A contender's process: does what its parent asks for, one thing after another.
import { answerParent } from '../peers/measure/answer-parent.mjs'
import { EnginePhases } from './phases.mjs'

answerParent(new EnginePhases())
