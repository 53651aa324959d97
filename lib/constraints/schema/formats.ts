// What each format is, as regular expressions of whole strings, in forms that ajv-formats accepts.

const hour = '([01][0-9]|2[0-3])'
const minute = '[0-5][0-9]'
const time = `${hour}:${minute}:${minute}(\\.[0-9]{1,9})?(Z|[+-]${hour}:${minute})`
const leapYear = '([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)'
const date =
  '([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))' +
  `|${leapYear}-02-29)`
const byte = '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
const ipv4 = `${byte}(\\.${byte}){3}`
const group = '[0-9a-fA-F]{1,4}'
/** Eight groups, or fewer around a "::" (RFC 4291, section 2.2), the last two as in IPv4 or not. */
const ipv6 = [
  `(${group}:){7}${group}`,
  `(${group}:){6}${ipv4}`,
  `(${group}:){1,7}:`,
  ...Array.from({ length: 6 }, (_, i) => `(${group}:){1,${6 - i}}(:${group}){1,${i + 1}}`),
  `:((:${group}){1,7}|:)`,
].join('|')
/** Eight labels of 30 letters stay below the 253 that a name may have. */
const label = '[a-zA-Z0-9]([a-zA-Z0-9-]{0,28}[a-zA-Z0-9])?'
const hostname = `${label}(\\.${label}){0,7}`
const atom = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+"
const domainLabel = '[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?'
const pathCharacter = "([a-zA-Z0-9._~!$&'()*+,;=:@-]|%[0-9a-fA-F]{2})"

export const formats: ReadonlyMap<string, string> = new Map([
  ['date', date],
  ['time', time],
  ['date-time', `${date}T${time}`],
  [
    'duration',
    'P([0-9]+W|[0-9]+Y([0-9]+M)?([0-9]+D)?|[0-9]+M([0-9]+D)?|[0-9]+D|T([0-9]+H([0-9]+M)?([0-9]+S)?|[0-9]+M([0-9]+S)?|[0-9]+S))',
  ],
  ['uuid', '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}'],
  ['ipv4', ipv4],
  ['ipv6', ipv6],
  ['hostname', hostname],
  ['email', `${atom}(\\.${atom})*@(${domainLabel}\\.)+${domainLabel}`],
  [
    'uri',
    `https?://${hostname}(:[0-9]{1,5})?(/${pathCharacter}*)*(\\?(${pathCharacter}|[/?])*)?(#(${pathCharacter}|[/?])*)?`,
  ],
])
