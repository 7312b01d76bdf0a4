/* Peer: a receiver of GitHub's webhooks in fastify + better-sqlite3. DATABASE = file, PORT, SECRET.
 * Checks the HMAC over the raw body, then ledger row and event row in one transaction with
 * synchronous=FULL, then 202. What was seen before is acknowledged and not stored again. */
import Database from 'better-sqlite3'
import fastify from 'fastify'
import { createHmac, timingSafeEqual } from 'node:crypto'
import { run } from '../common/app.js'
import { uuidv7 } from '../common/uuid.js'

const { DATABASE = 'hooks.db', PORT = '8082', SECRET } = process.env

const db = new Database(DATABASE)
db.pragma('journal_mode = WAL')
db.pragma('synchronous = FULL')
db.pragma('cache_size = -65536')
db.exec(`CREATE TABLE IF NOT EXISTS seen (event_key TEXT PRIMARY KEY, event_id TEXT NOT NULL,
    seen_ms INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS event (id TEXT PRIMARY KEY, event_type TEXT, headers TEXT NOT NULL,
    body TEXT NOT NULL, state TEXT NOT NULL, received_ms INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS event_state ON event (state, id)`)
const seen = db.prepare('INSERT INTO seen VALUES (?, ?, ?) ON CONFLICT DO NOTHING')
const event = db.prepare("INSERT INTO event VALUES (?, ?, ?, ?, 'received', ?)")

const keep = db.transaction((key, type, headers, body, now) => {
  const id = uuidv7(now)
  if (seen.run(key, id, now).changes === 1) event.run(id, type, headers, body, now)
})

const app = fastify({ logger: false, bodyLimit: 1024 * 1024 })
app.removeAllContentTypeParsers()
app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body, done) => done(null, body))

function holds (given, body) {
  const wanted = Buffer.from('sha256=' + createHmac('sha256', SECRET).update(body).digest('hex'))
  const found = Buffer.from(given ?? '')
  return found.length === wanted.length && timingSafeEqual(found, wanted)
}

app.post('/hooks', (request, reply) => {
  const h = request.headers
  if (!holds(h['x-hub-signature-256'], request.body)) return reply.code(401).send()
  const kept = JSON.stringify({ 'user-agent': h['user-agent'], 'content-type': h['content-type'],
    'x-github-event': h['x-github-event'], 'x-github-delivery': h['x-github-delivery'] })
  keep(h['x-github-delivery'], h['x-github-event'], kept, request.body.toString(), Date.now())
  return reply.code(202).send()
})

await run(app, Number(PORT), () => db.close())
