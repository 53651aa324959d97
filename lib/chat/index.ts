import { invalidValue, TemplateError } from '../errors.js'
import { Guard } from './guard.js'
import type { ChatMessage, ChatTool } from './messages.js'
import { templateMessages, templateTools } from './messages.js'
import { templates } from './template-renderer.js'

export { AnswerParser, type ChatPiece, type ToolCall } from './answer-parser.js'
export { type ChatMessage, type ChatTool, type ContentPart, checkMessages, checkTools } from './messages.js'

/** What a model's files say about conversations. */
export interface ChatSetup {
  /** In Jinja, by name. */
  templates: Readonly<Record<string, string>>
  specialTokens: readonly string[]
  bosToken: string | null
  eosToken: string | null
}

export interface RenderOptions {
  tools?: readonly ChatTool[] | undefined
  /** The template's name; `tool_use` where there are tools and such a template, else `default`. */
  template?: string | undefined
  /** More variables for the template, such as `enable_thinking`. */
  variables?: Readonly<Record<string, unknown>> | undefined
  /** Whether the text ends where the model's answer begins. */
  addGenerationPrompt: boolean
}

/** A conversation as the model's text, with marks where somebody wrote a special token's text. */
export interface Rendered {
  text: string
  mark: string
}

/**
 * Renders a conversation with a model's chat template.
 *
 * @throws {TemplateError} when there is no template, it refuses the messages, or takes too much time or memory
 */
export async function render(
  where: string,
  messages: readonly ChatMessage[],
  setup: ChatSetup,
  options: RenderOptions,
): Promise<Rendered> {
  const template = chooseTemplate(where, setup.templates, options)
  const guard = new Guard(setup.specialTokens, [
    template,
    JSON.stringify([messages, options.tools ?? [], options.variables ?? {}]),
    ...setup.specialTokens,
  ])
  const text = await templates.render(template, {
    messages: guard.value(templateMessages(messages)),
    ...(options.tools?.length ? { tools: guard.value(templateTools(options.tools)) } : {}),
    bos_token: setup.bosToken ?? '',
    eos_token: setup.eosToken ?? '',
    add_generation_prompt: options.addGenerationPrompt,
    ...guard.value(options.variables ?? {}),
  })
  return { text, mark: guard.mark }
}

function chooseTemplate(
  where: string,
  known: Readonly<Record<string, string>>,
  { template, tools }: RenderOptions,
): string {
  const names = Object.keys(known)
  if (names.length === 0) throw new TemplateError(`${where}: the model has no chat template`)
  if (template !== undefined) {
    if (Object.hasOwn(known, template)) return known[template]!
    throw invalidValue(`${where}: template`, `one of ${names.join(', ')}`, template)
  }
  if (tools?.length && Object.hasOwn(known, 'tool_use')) return known.tool_use!
  return known.default ?? known[names[0]!]!
}
