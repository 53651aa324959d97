import type { LogitLens, Trace } from './index.js'

const font = 'ui-monospace, SFMono-Regular, Menlo, Consolas, monospace'
const ink = '#1c2430'
const faint = '#8a94a3'
/** From paper to ink: one hue, so that darker is more in print, too. */
const paper = [255, 255, 255] as const
const deep = [18, 74, 148] as const

/** A colour for a share from 0 to 1. */
export function shade(share: number): string {
  const part = Math.min(Math.max(share, 0), 1)
  return `rgb(${paper.map((from, i) => Math.round(from + (deep[i]! - from) * part)).join(',')})`
}

export function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

/** A token's text in few columns. */
function short(text: string, most: number): string {
  const characters = [...text]
  return characters.length > most ? `${characters.slice(0, most - 1).join('')}…` : text
}

function text(
  x: number,
  y: number,
  content: string,
  { size = 11, fill = ink, anchor = 'start', rotate = 0, weight = 400 } = {},
): string {
  const turned = rotate === 0 ? '' : ` transform="rotate(${rotate} ${x} ${y})"`
  return `<text x="${x}" y="${y}" font-size="${size}" font-weight="${weight}" fill="${fill}" text-anchor="${anchor}"${turned}>${escapeXml(content)}</text>`
}

function page(width: number, height: number, body: string[]): string {
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="${font}">\n` +
    `<rect width="${width}" height="${height}" fill="#ffffff"/>\n${body.join('\n')}\n</svg>\n`
  )
}

/** Attention's weights, a square for each layer and head: rows are tokens that look, columns those that are looked at. */
export function attentionSvg({ tokens, values }: Trace, title: string): string {
  const layers = Object.entries(values).filter(([path]) => path.endsWith('.probabilities'))
  const T = tokens.length
  const cell = Math.max(3, Math.min(14, Math.floor(220 / T)))
  const side = cell * T
  const labelled = cell >= 9
  const margin = { left: labelled ? 96 : 24, top: 64 }
  const gap = { x: 18, y: labelled ? 84 : 34 }
  const heads = Math.max(...layers.map(([, { shape }]) => shape[0]!))
  const width = margin.left + heads * (side + gap.x) + 24
  const body = [
    text(24, 28, title, { size: 15, weight: 600 }),
    text(24, 46, 'each row a token that looks, each column one that it looks at; darker is more', {
      fill: faint,
    }),
  ]
  for (const [l, [path, { data, shape }]] of layers.entries()) {
    const y = margin.top + l * (side + gap.y) + (labelled ? 54 : 18)
    body.push(text(24, y - (labelled ? 46 : 8), path.replace(/\.probabilities$/, ''), { weight: 600 }))
    for (let h = 0; h < shape[0]!; h++) {
      const x = margin.left + h * (side + gap.x)
      body.push(text(x + side, y - (labelled ? 46 : 8), `head ${h}`, { fill: faint, anchor: 'end' }))
      body.push(...square(data.subarray(h * T * T, (h + 1) * T * T), T, { x, y, cell }))
      if (!labelled) continue
      for (const [t, token] of tokens.entries()) {
        const middle = (t + 0.5) * cell
        if (h === 0) body.push(text(x - 6, y + middle + 3, short(token, 10), { size: 9, anchor: 'end' }))
        body.push(text(x + middle + 3, y - 4, short(token, 6), { size: 9, rotate: -60, fill: faint }))
      }
    }
  }
  return page(width, margin.top + layers.length * (side + gap.y) + 24, body)
}

function square(
  weights: Float32Array,
  T: number,
  { x, y, cell }: { x: number; y: number; cell: number },
): string[] {
  const rows: string[] = []
  for (let t = 0; t < T; t++) {
    const cells: string[] = []
    for (let j = 0; j <= t; j++) {
      const weight = weights[t * T + j]!
      // Small weights are told apart by their roots.
      if (weight >= 0.002)
        cells.push(
          `<rect x="${x + j * cell}" y="${y + t * cell}" width="${cell}" height="${cell}" fill="${shade(Math.sqrt(weight))}"/>`,
        )
    }
    rows.push(cells.join(''))
  }
  const side = T * cell
  return [...rows, `<rect x="${x}" y="${y}" width="${side}" height="${side}" fill="none" stroke="#d5dae1"/>`]
}

/** What each layer expects after each token: the last layer on top, the likeliest token in each field. */
export function lensSvg({ tokens, layers, predictions }: LogitLens, title: string): string {
  const cell = { width: 84, height: 26 }
  const margin = { left: 132, top: 92 }
  const body = [
    text(24, 28, title, { size: 15, weight: 600 }),
    text(24, 46, 'the likeliest next token after each token, by layer; darker is more probable', {
      fill: faint,
    }),
  ]
  for (const [t, token] of tokens.entries())
    body.push(
      text(margin.left + (t + 0.5) * cell.width, margin.top - 10, short(token, 11), {
        anchor: 'middle',
        weight: 600,
      }),
    )
  const order = [...layers.keys()].reverse()
  for (const [row, l] of order.entries()) {
    const y = margin.top + row * cell.height
    body.push(text(margin.left - 10, y + 17, layers[l]!, { anchor: 'end', fill: faint }))
    for (const [t, [best]] of predictions[l]!.entries()) {
      const x = margin.left + t * cell.width
      const fill = best!.probability > 0.55 ? '#ffffff' : ink
      body.push(
        `<rect x="${x + 1}" y="${y + 1}" width="${cell.width - 2}" height="${cell.height - 2}" rx="3" fill="${shade(best!.probability)}" stroke="#e3e7ec"><title>${escapeXml(predictions[l]![t]!.map((one) => `${one.text} ${(100 * one.probability).toFixed(1)} %`).join('\n'))}</title></rect>`,
        text(x + cell.width / 2, y + 17, short(best!.text, 11), { anchor: 'middle', fill }),
      )
    }
  }
  const width = margin.left + tokens.length * cell.width + 24
  return page(Math.max(width, 560), margin.top + layers.length * cell.height + 24, body)
}
