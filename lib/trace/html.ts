import type { LogitLens, Trace } from './index.js'
import { escapeXml } from './svg.js'

/** Weights as whole numbers up to this: enough for a picture, and short. */
const steps = 99

/**
 * A page of its own: the prompt's tokens, where a token looks by layer and head when it is pointed at, and what each layer
 * expects after it.
 */
export function traceHtml(title: string, trace: Trace, lens: LogitLens): string {
  const layers = Object.entries(trace.values)
    .filter(([path]) => path.endsWith('.probabilities'))
    .map(([path, { data, shape }]) => ({
      name: path.replace(/\.probabilities$/, ''),
      heads: Array.from({ length: shape[0]! }, (_, h) => headRows(data, trace.tokens.length, h)),
    }))
  const predictions = lens.predictions.map((rows) =>
    rows.map((row) => row.map(({ text, probability }) => [text, Math.round(probability * 1000) / 1000])),
  )
  const data = { tokens: trace.tokens, steps, layers, lens: { layers: lens.layers, predictions } }
  // Within a script, "</" must not end it.
  const json = JSON.stringify(data).replaceAll('<', '\\u003c')
  return template.replaceAll('TITLE', escapeXml(title)).replace('"DATA"', () => json)
}

/** A head's weights, a row for each token: as many as positions up to it. */
function headRows(data: Float32Array, T: number, h: number): number[][] {
  return Array.from({ length: T }, (_, t) =>
    Array.from(data.subarray((h * T + t) * T, (h * T + t) * T + t + 1), (weight) =>
      Math.round(weight * steps),
    ),
  )
}

const template = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TITLE</title>
<style>
  :root { --ink: #1c2430; --faint: #6b7686; --line: #dfe4ea; --accent: 18, 74, 148; --paper: #fff; --panel: #f6f8fa }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #e6eaf0; --faint: #94a0b0; --line: #2c3542; --accent: 110, 168, 255; --paper: #12171e; --panel: #1a212b }
  }
  * { box-sizing: border-box }
  body { margin: 0; font: 14px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
  main { max-width: 1100px; margin: 0 auto; padding: 24px }
  h1 { font-size: 18px; margin: 0 0 4px } h2 { font-size: 14px; margin: 28px 0 8px } p { color: var(--faint); margin: 0 0 12px }
  .tokens, td, th, .chip { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 13px }
  .tokens { line-height: 2.1; position: sticky; top: 0; background: var(--paper); padding: 8px 0; border-bottom: 1px solid var(--line); z-index: 1 }
  .tokens button { all: unset; padding: 3px 4px; margin: 1px; border-radius: 4px; cursor: pointer; white-space: pre; border: 1px solid transparent }
  .tokens button:focus-visible { outline: 2px solid rgb(var(--accent)) }
  .tokens button.looks { border-color: rgb(var(--accent)); font-weight: 700 }
  .heads { display: flex; flex-wrap: wrap; gap: 4px; align-items: center; margin: 4px 0 }
  .chip { all: unset; padding: 2px 8px; border-radius: 10px; border: 1px solid var(--line); cursor: pointer; font-size: 12px }
  .chip.on { background: rgb(var(--accent)); color: var(--paper); border-color: transparent }
  .heads span { width: 180px; color: var(--faint); font-size: 12px; overflow: hidden; text-overflow: ellipsis }
  table { border-collapse: collapse } td, th { padding: 3px 10px 3px 0; text-align: left; vertical-align: top; white-space: pre }
  th { color: var(--faint); font-weight: 400 } .bar { display: inline-block; height: 9px; border-radius: 2px; background: rgb(var(--accent)); margin-right: 6px }
  .scroll { overflow-x: auto }
</style>
<main>
  <h1>TITLE</h1>
  <p>Point at a token, or walk with the arrow keys: the others darken by what it gives them.</p>
  <div class="tokens" id="tokens" role="listbox" aria-label="tokens"></div>
  <h2>Heads</h2><p>The mean of those that are chosen.</p><div id="heads"></div>
  <h2 id="lens-title"></h2><div class="scroll"><table id="lens"></table></div>
</main>
<script type="application/json" id="data">"DATA"</script>
<script>
  const { tokens, steps, layers, lens } = JSON.parse(document.getElementById('data').textContent)
  const byId = (id) => document.getElementById(id)
  const element = (tag, properties) => Object.assign(document.createElement(tag), properties)
  const chosen = new Set(layers.map((_, l) => l + ' 0'))
  let current = tokens.length - 1
  const buttons = tokens.map((text, t) => {
    const button = element('button', { textContent: text, type: 'button' })
    button.addEventListener('pointerenter', () => show(t))
    button.addEventListener('focus', () => show(t))
    byId('tokens').append(button)
    return button
  })
  addEventListener('keydown', (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (by) buttons[Math.min(Math.max(current + by, 0), tokens.length - 1)].focus()
  })
  layers.forEach((layer, l) => {
    const row = element('div', { className: 'heads' })
    const name = element('span', { textContent: layer.name, title: layer.name })
    row.append(name)
    layer.heads.forEach((_, h) => {
      const key = l + ' ' + h
      const chip = element('button', { className: 'chip', textContent: h, type: 'button' })
      chip.classList.toggle('on', chosen.has(key))
      chip.addEventListener('click', () => {
        chosen.has(key) ? chosen.delete(key) : chosen.add(key)
        chip.classList.toggle('on')
        show(current)
      })
      row.append(chip)
    })
    byId('heads').append(row)
  })
  function show(t) {
    current = t
    const sums = new Array(tokens.length).fill(0)
    for (const key of chosen) {
      const [l, h] = key.split(' ')
      layers[l].heads[h][t].forEach((weight, j) => (sums[j] += weight / steps / chosen.size))
    }
    buttons.forEach((button, j) => {
      button.style.background = 'rgba(var(--accent), ' + Math.sqrt(sums[j]) * 0.75 + ')'
      button.title = (100 * sums[j]).toFixed(1) + ' %'
      button.classList.toggle('looks', j === t)
    })
    byId('lens-title').textContent = 'Expected after “' + tokens[t] + '”, by layer'
    byId('lens').replaceChildren(...lens.layers.map((name, l) => {
      const row = element('tr', {})
      row.append(element('th', { textContent: name }))
      for (const [text, probability] of lens.predictions[l][t]) {
        const cell = element('td', {})
        const bar = element('span', { className: 'bar' })
        bar.style.width = Math.max(1, probability * 60) + 'px'
        cell.append(bar, text + ' ' + (100 * probability).toFixed(1) + ' %')
        row.append(cell)
      }
      return row
    }).reverse())
  }
  show(current)
</script>
</html>
`
