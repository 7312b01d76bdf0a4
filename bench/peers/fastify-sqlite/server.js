/* Peer: fastify + better-sqlite3. DATABASE = file, PORT, TOKEN = bearer secret to accept,
 * RATE_LIMIT = requests an hour for it. */
import fastify from 'fastify'
import { hash } from 'node:crypto'
import { buildApp, run } from '../common/app.js'
import { uuidv7 } from '../common/uuid.js'
import { openStore } from './store.js'

const { DATABASE = 'peer.db', PORT = '8081', TOKEN, RATE_LIMIT = '1000' } = process.env
const store = openStore(DATABASE)
if (TOKEN) {
  const now = Date.now()
  store.addToken(uuidv7(now), uuidv7(now), 'bench', hash('sha256', TOKEN, 'hex'),
    Number(RATE_LIMIT))
}
await run(buildApp(fastify, store), Number(PORT), store.close)
