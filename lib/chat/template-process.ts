import { Template } from '@huggingface/jinja'
import type { RenderReply, RenderRequest } from './template-renderer.js'

// The process that renders chat templates: a template is a program from a stranger, which may loop or fill memory. Nothing
// else happens here, and whoever started it ends it.

/** Templates of the last requests, parsed. */
const parsed = new Map<string, Template>()
const mostParsed = 8

process.on('message', ({ id, template, variables }: RenderRequest) => {
  const reply = (message: RenderReply) => process.send!(message)
  try {
    reply({ id, text: templateOf(template).render(variables) })
  } catch (error) {
    reply({ id, error: error instanceof Error ? error.message : String(error) })
  }
})
process.on('disconnect', () => process.exit())

function templateOf(source: string): Template {
  const known = parsed.get(source)
  if (known) return known
  const template = new Template(source)
  if (parsed.size >= mostParsed) parsed.clear()
  parsed.set(source, template)
  return template
}
