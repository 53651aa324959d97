import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))

/**
 * Installs the peers where that was not done; null, or why it failed. Their install scripts, which download what is not
 * needed, stay unrun.
 */
export function installPeers() {
  if (existsSync(`${here}node_modules/.package-lock.json`)) return null // npm writes it last
  console.log('installing peers')
  const { status, stderr } = spawnSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: here,
    encoding: 'utf8',
  })
  if (status === 0) return null
  return `npm install failed with ${/npm error code (\S+)/.exec(stderr)?.[1] ?? status}`
}
