// Charts of a run: a panel a figure, a group of bars a number of bits that weights have.
import { logger, parse, View } from 'vega'
import { compile } from 'vega-lite'
import { absence } from './figures.mjs'
import { over } from './results.mjs'

const panels = [
  { title: 'prefill, tokens/s', pick: (round) => round.prefillRate },
  { title: 'decode, tokens/s', pick: (round) => round.decodeRate },
  { title: 'memory at peak, MB', pick: (round) => round.peakBytes / 1e6 },
  { title: 'longest freeze in prefill, ms', pick: (round) => round.delays.prefill.maxMs },
]
const colours = {
  kvasir: '#0b6e99',
  'node-llama-cpp': '#d98b2b',
  'onnxruntime-node': '#8f8f8f',
  'transformers.js': '#b9b9b9',
}

/** A shape's results as SVG. */
export async function drawChart(results, shape) {
  // vega-lite warns of axes that are independent on purpose.
  const { spec } = compile(specification(results, shape), { logger: logger(0) })
  return new View(parse(spec), { renderer: 'none' }).toSVG()
}

function specification(results, shape) {
  const { title, promptTokens, decodeTokens, contenders } = results.shapes[shape]
  const { cpu, threads, date, commit, effort } = results
  const rounds =
    effort.rounds === 1 ? 'one round' : `median of ${effort.rounds} rounds, lines from least to most`
  const measured = contenders.filter((row) => absence(row) === null)
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    background: 'white',
    padding: 12,
    title: {
      text: `${title}, random weights: prefill of ${promptTokens} tokens, decode of ${decodeTokens}`,
      subtitle: `${cpu}, ${threads} threads; ${date}, commit ${commit}; ${rounds}`,
      anchor: 'start',
      offset: 14,
    },
    config: {
      font: 'sans-serif',
      title: { fontSize: 14, subtitleFontSize: 11, subtitleColor: '#555' },
      view: { stroke: null },
    },
    spacing: 14,
    hconcat: panels.map((panel, i) => panelOf(panel, { rows: measured, hasLabels: i === 0 })),
  }
}

function panelOf({ title, pick }, { rows, hasLabels }) {
  const values = rows.map((row) => ({
    package: row.package.replace('@huggingface/transformers', 'transformers.js'),
    type: row.type,
    name: `${row.package.replace('@huggingface/transformers', 'transformers.js')} ${row.type}`,
    bits: row.bits,
    ...over(row, pick),
  }))
  const widest = Math.max(...values.map(({ most }) => most))
  const y = {
    field: 'name',
    type: 'nominal',
    title: null,
    sort: null,
    axis: {
      labels: hasLabels,
      ticks: false,
      domain: false,
      labelLimit: 200,
      labelFontSize: 11,
      labelPadding: 6,
    },
  }
  // Room at the right for the numbers.
  const scale = { domain: [0, 1.3 * widest], nice: false, zero: true }
  const x = (field, rest) => ({ field, type: 'quantitative', title: null, scale, ...rest })
  return {
    title: { text: title, fontSize: 11, anchor: 'start', frame: 'group', offset: 8 },
    data: { values },
    facet: {
      row: { field: 'bits', type: 'ordinal', sort: 'descending', header: { title: null, labels: false } },
    },
    spacing: 10,
    resolve: { scale: { y: 'independent' } },
    spec: {
      width: 148,
      height: { step: 19 },
      layer: [
        {
          mark: { type: 'bar', height: 14 },
          encoding: {
            x: x('median', { axis: { grid: true, tickCount: 4, domain: false } }),
            y,
            color: {
              field: 'package',
              type: 'nominal',
              legend: null,
              scale: { domain: Object.keys(colours), range: Object.values(colours) },
            },
          },
        },
        { mark: { type: 'rule', color: '#222' }, encoding: { x: x('least'), x2: { field: 'most' }, y } },
        {
          mark: { type: 'text', align: 'left', dx: 5, fontSize: 10, color: '#222' },
          encoding: { x: x('most'), y, text: { field: 'median', type: 'quantitative', format: ',.0f' } },
        },
      ],
    },
  }
}
