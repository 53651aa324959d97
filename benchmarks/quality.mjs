// What weights in fewer bits cost: perplexity of a text, and how far next-token probabilities move from those of f32.
//
//   npm run bench quality -- MODEL TEXT [OTHER...]
//
// OTHER are models of the same vocabulary that are compared too, such as GGUF files in other types.
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { loadModel } from 'kvasir'
import { printTable } from './statistics.mjs'

const dtypes = ['f32', 'bf16', 'q8', 'q4']
const windowTokens = 256
const maxTokens = 32768

export async function benchQuality([path, textPath, ...others]) {
  if (!path || !textPath) throw new Error('quality: wants a model and a text')
  const text = readFileSync(textPath, 'utf8')
  const texts = textPath.endsWith('.json') ? JSON.parse(text) : [text.slice(0, 8 * maxTokens)]
  const rows = [['weights', 'size', 'perplexity', 'of f32', 'KL from f32', 'same first choice']]
  const cases = [
    ...dtypes.map((dtype) => ({ name: dtype, path, dtype })),
    ...others.map((other) => ({ name: basename(other), path: other, dtype: 'auto' })),
  ]
  let exact
  for (const { name, path, dtype } of cases) {
    const model = await loadModel(path, { dtype, device: 'cpu' })
    const windows = await windowsOf(model, texts)
    const found = await measure(model, windows, exact)
    exact ??= found
    rows.push([
      name,
      `${(model.info.weightBytes / 1e6).toFixed(2)} MB`,
      found.perplexity.toFixed(4),
      `${((found.perplexity / exact.perplexity - 1) * 100).toFixed(3)} %`,
      found === exact ? '0' : found.divergence.toExponential(2),
      found === exact ? '100 %' : `${(100 * found.agreement).toFixed(2)} %`,
    ])
    await model.dispose()
  }
  printTable(rows)
}

/** The ids of each text of a JSON array, cut after a window; or of one text, in windows without overlap. */
async function windowsOf(model, texts) {
  const windows = []
  for (const text of texts) {
    const ids = await model.tokenize(text)
    const end = texts.length > 1 ? Math.min(ids.length, windowTokens) : ids.length
    for (let start = 0; start + 1 < end; start += windowTokens)
      windows.push(ids.slice(start, start + windowTokens))
  }
  const fitting = Math.ceil(maxTokens / windowTokens)
  return windows.slice(0, fitting)
}

async function measure(model, windows, exact) {
  const result = { perplexity: 0, divergence: 0, agreement: 0, logProbabilities: [] }
  let [loss, count] = [0, 0]
  for (const [w, ids] of windows.entries()) {
    const { data, shape } = await model.logits(ids)
    const [, vocabulary] = shape
    const logs = logSoftmax(data, vocabulary)
    result.logProbabilities.push(logs)
    for (let i = 0; i + 1 < ids.length; i++) {
      loss -= logs[i * vocabulary + ids[i + 1]]
      count++
      if (!exact) continue
      const [row, wanted] = [logs, exact.logProbabilities[w]].map((all) =>
        all.subarray(i * vocabulary, (i + 1) * vocabulary),
      )
      result.divergence += wanted.reduce((sum, log, v) => sum + Math.exp(log) * (log - row[v]), 0)
      result.agreement += largest(row) === largest(wanted) ? 1 : 0
    }
  }
  result.perplexity = Math.exp(loss / count)
  result.divergence /= count
  result.agreement /= count
  return result
}

function largest(row) {
  return row.reduce((best, x, v) => (x > row[best] ? v : best), 0)
}

function logSoftmax(logits, vocabulary) {
  const logs = new Float64Array(logits.length)
  for (let start = 0; start < logits.length; start += vocabulary) {
    const row = logits.subarray(start, start + vocabulary)
    const most = row.reduce((a, b) => Math.max(a, b), -Infinity)
    const sum = Math.log(row.reduce((total, x) => total + Math.exp(x - most), 0))
    row.forEach((x, v) => {
      logs[start + v] = x - most - sum
    })
  }
  return logs
}
