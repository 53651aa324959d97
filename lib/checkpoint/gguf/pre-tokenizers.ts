// Where a text is cut before bytes are merged, by the name that `tokenizer.ggml.pre` gives it. The patterns are those of the
// models' own tokenizer.json, the names those of https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp;
// a text is cut by a row's patterns one after the other.

/** How a model's byte-pair encoding cuts texts. */
export interface PreTokenizerRule {
  patterns: readonly string[]
  /** Words that are tokens are not merged from smaller ones. */
  wholeWords?: boolean
  /** Texts begin with the token for that unless the file says otherwise. */
  addsBos?: boolean
  /** Characters are merged, with spaces as U+2581, not bytes in GPT-2's alphabet. */
  ofCharacters?: boolean
}

interface Row extends PreTokenizerRule {
  names: string
}

const caseless = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const lines = '\\s*[\\r\\n]+'
const spaces = '\\s+(?!\\S)|\\s+'

/** Radford et al. 2019, `encoder.py` of GPT-2. */
const gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|${spaces}`

const word = '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+'
const signs = ' ?[^\\s\\p{L}\\p{N}]+'
/** That of `cl100k_base`, with digits cut in ways of their own. */
const words = (digits: string, { start = `${caseless}|` } = {}) =>
  `${start}${word}|${digits}|${signs}[\\r\\n]*|${lines}|${spaces}`

/** That of `o200k_base`: words end where small letters are followed by capital ones. */
const capital = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]'
const small = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]'
const casedWords = (digits: string, { end = `${caseless}?`, letter = '' } = {}) => {
  const [upper, lower] = [`(?:${letter}${capital})`, `(?:${letter}${small})`]
  const before = '[^\\r\\n\\p{L}\\p{N}]?'
  return `${before}${upper}*${lower}+${end}|${before}${upper}+${lower}*${end}|${digits}`
}
const casedText = (digits: string, options?: { end?: string }) =>
  `${casedWords(digits, options)}|${signs}[\\r\\n/]*|${lines}|${spaces}`

const digit = '\\p{N}'
const threeDigits = '\\p{N}{1,3}'
/** Groups of three from the right. */
const thousands = '\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))'

/** Letters of alphabets that have capital ones, but for some that DeepSeek's own list leaves out. */
const casedLetter =
  '(?![\\u10c7\\u10cd\\u10d0-\\u10ff\\u{16e40}-\\u{16e7f}\\u{1d400}-\\u{1d7cb}])[\\p{Lu}\\p{Ll}\\p{Lt}]'
const han = '[一-龥ࠀ-一가-\ud7ff]+'
const hanAndKana = '[一-龥぀-ゟ゠-ヿ]+'
const asian =
  '[\\u4e00-\\u9fff\\u3400-\\u4db6\\uf900-\\ufaff\\u3040-\\u30ff\\uff65-\\uff9f\\u2f00-\\u2fdf\\u0e40-\\u0e7f\\u0e80-\\u0eff' +
  '\\u1780-\\u17ff\\u1000-\\u109f\\uaa60-\\uaa7f\\ua9e0-\\ua9ff\\uac00-\\ud7af\\u1100-\\u11ff]+'
const asciiSigns = '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]'
const signedWords = (rest: string) =>
  `${asciiSigns}[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+${rest}|${spaces}`
const deepseek3 = [threeDigits, hanAndKana, signedWords(`[\\r\\n]*|${lines}`)]
const bloom = ' ?[^(\\s|.,!?…。，、।۔،)]+'
const wholeLines = '[^\\n]+|[\\n]+'

const rows: readonly Row[] = [
  {
    names: 'default',
    patterns: ['[\\p{P}\\$\\+<=>\\^~\\|]+', gpt2, '\\p{N}+', '[0-9][0-9][0-9]'],
  },
  {
    names:
      'gpt-2 gpt2 phi-2 jina-es jina-de jina-v1-en jina-v2-es jina-v2-de jina-v2-code roberta-bpe gigachat a.x-4.0 mellum ' +
      'modern-bert mpt olmo jais trillion granite-docling exaone4',
    patterns: [gpt2],
  },
  {
    names: 'starcoder refact command-r smollm codeshell exaone minerva-7b mellum2',
    patterns: [digit, gpt2],
  },
  {
    names: 'llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano',
    patterns: [words(threeDigits)],
    wholeWords: true,
    addsBos: true,
  },
  { names: 'dbrx smaug-bpe glm4 chatglm-bpe', patterns: [words(threeDigits)] },
  {
    names: 'qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2',
    patterns: [words(digit)],
  },
  {
    names: 'qwen35',
    patterns: [
      `${caseless}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|${digit}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${lines}|${spaces}`,
    ],
  },
  { names: 'minicpm5', patterns: [threeDigits, words('\\p{N}+')], wholeWords: true },
  { names: 'laguna', patterns: [wholeLines, words(digit)] },
  {
    names: 'seed-coder',
    patterns: [`${caseless}|${word}|${digit}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|${lines}|${spaces}`],
  },
  {
    names: 'bailingmoe bailingmoe2 llada-moe',
    patterns: [`'(?i:[sdmt]|ll|ve|re)|${word}|${digit}|${signs}[\\r\\n]*|\\s*[\\r\\n]|${spaces}`],
  },
  {
    names: 'exaone-moe',
    patterns: [
      `${caseless}|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|${digit}|${signs}[\\r\\n/]?|\\s*[\\r\\n]|${spaces}`,
    ],
  },
  {
    names: 'jais-2',
    patterns: [
      `${caseless}|${word}|${threeDigits}|${signs}[\\r\\n]*|${lines}|` +
        [512, 256, 128, 64, 32, 16, 8, 4, '1,2'].map((count) => `\\s{${count}}(?!\\S)|`).join('') +
        '\\s{1}',
    ],
  },
  { names: 'gpt-4o llama4 kanana2 talkie minimax-m2', patterns: [casedText(threeDigits)] },
  { names: 'granite-embed-multi-97m', patterns: [casedText(threeDigits)], wholeWords: true },
  {
    names: 'tekken',
    patterns: [casedText(digit, { end: '' })],
    wholeWords: true,
    addsBos: true,
  },
  { names: 'tiny_aya cohere2moe', patterns: ['\\d{1,3}(?=(?:\\d{3})*\\b)', casedText(threeDigits)] },
  {
    names: 'youtu',
    patterns: [`[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|${hanAndKana}`, casedText(digit)],
    wholeWords: true,
  },
  {
    names: 'kimi-k2',
    patterns: [
      `\\p{Script=Han}+|${casedWords(threeDigits, { letter: '(?!\\p{Script=Han})' })}|${signs}[\\r\\n]*|${lines}|${spaces}`,
    ],
  },
  {
    names: 'deepseek-llm',
    patterns: [
      '[\\r\\n]',
      `\\s?(?:${casedLetter})+`,
      '\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+',
      '\\s+$',
      han,
      '\\p{N}+',
    ],
  },
  { names: 'deepseek-coder', patterns: ['[\\r\\n]', '\\s?\\p{L}+', '\\s?\\p{P}+', han, digit] },
  { names: 'deepseek-v3 hunyuan-dense joyai-llm', patterns: deepseek3 },
  { names: 'afmoe', patterns: [thousands, asian, signedWords(`[\\r\\n]*|${lines}`)] },
  { names: 'falcon', patterns: ['[\\p{P}\\$\\+<=>\\^~\\|`]+', gpt2, '[0-9][0-9][0-9]'] },
  { names: 'poro-chat bloom gpt3-finnish', patterns: [bloom] },
  { names: 'viking', patterns: [bloom, digit] },
  { names: 'superbpe', patterns: ['\\p{N}+', '\\d{1,3}(?=(?:\\d{3})*(?!\\d))'] },
  {
    names: 'chameleon',
    patterns: [
      '<sentinel:[0-9]+>',
      '(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z',
      '([\\t\\n]|    |  )',
      digit,
      '[\\p{P}!-/:-@\\[-`{-~]',
      gpt2,
    ],
    addsBos: true,
  },
  { names: 'gemma4 granite-embed-multi-311m sarvam-moe', patterns: [wholeLines], ofCharacters: true },
]

export const preTokenizerRules: ReadonlyMap<string, PreTokenizerRule> = new Map(
  rows.flatMap(({ names, ...rule }) => names.split(' ').map((name) => [name, rule] as const)),
)
