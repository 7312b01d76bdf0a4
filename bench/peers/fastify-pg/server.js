/* Peer: fastify + pg. DATABASE = URL, PORT, TOKEN = bearer secret to accept,
 * RATE_LIMIT = requests an hour for it. */
import fastify from 'fastify'
import { hash } from 'node:crypto'
import { buildApp, run } from '../common/app.js'
import { uuidv7 } from '../common/uuid.js'
import { openStore } from './store.js'

const { DATABASE, PORT = '8082', TOKEN, RATE_LIMIT = '1000' } = process.env
const store = await openStore(DATABASE)
if (TOKEN) {
  const now = Date.now()
  await store.addToken(uuidv7(now), uuidv7(now), 'bench', hash('sha256', TOKEN, 'hex'),
    Number(RATE_LIMIT))
}
await run(buildApp(fastify, store), Number(PORT), store.close)
