/* better-sqlite3 store: WAL, synchronous=FULL, one transaction per request, statements prepared
 * once. Calls are synchronous by nature of the library. */
import Database from 'better-sqlite3'
import { readFileSync } from 'node:fs'

const SQL = {
  token: `SELECT id, team_id, status, expires_at, rate_limit FROM tokens WHERE token_hash = ?`,
  used: `SELECT count(*) AS n FROM usage WHERE token_id = ? AND created_at >= ?`,
  addToken: `INSERT INTO tokens (id, team_id, name, token_hash, status, rate_limit)
    VALUES (?, ?, ?, ?, 'active', ?) ON CONFLICT (token_hash) DO NOTHING`,
  addTicket: `INSERT INTO tickets (id, team_id, token_id, title, description, status, priority,
    category, metadata, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  addUsage: `INSERT INTO usage (token_id, endpoint, method, status, took_ms, ip, user_agent,
    error, payload, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  ticket: `SELECT id, title, description, status, priority, category, metadata, created_at,
    updated_at FROM tickets WHERE id = ? AND token_id = ?`
}

export function openStore (path) {
  const db = new Database(path)
  db.pragma('journal_mode = WAL')
  db.pragma('synchronous = FULL')
  db.pragma('cache_size = -65536')
  db.pragma('temp_store = MEMORY')
  db.exec(readFileSync(new URL('./schema.sql', import.meta.url), 'utf8'))
  const q = {}
  for (const name in SQL) q[name] = db.prepare(SQL[name])

  const addUsage = (u) => q.addUsage.run(u.tokenId, u.endpoint, u.method, u.status, u.tookMs,
    u.ip, u.userAgent, u.error, u.payload, u.atMs)

  const createTicket = db.transaction((t, token, now, usage) => {
    q.addTicket.run(t.id, token.teamId, token.id, t.title, t.description, t.status, t.priority,
      t.category, JSON.stringify(t.metadata), now, now)
    addUsage(usage)
  })

  return {
    createTicket,
    saveUsage: db.transaction((rows) => rows.forEach(addUsage)),

    findToken (digest, hourStartMs) {
      const row = q.token.get(digest)
      if (row === undefined) return null
      return {
        id: row.id,
        teamId: row.team_id,
        active: row.status === 'active',
        expiresAtMs: row.expires_at,
        rateLimit: row.rate_limit,
        used: hourStartMs === null ? 0 : q.used.get(row.id, hourStartMs).n
      }
    },

    getTicket (id, tokenId) {
      const row = q.ticket.get(id, tokenId)
      if (row === undefined) return null
      row.metadata = JSON.parse(row.metadata)
      row.created_at = new Date(row.created_at).toISOString()
      row.updated_at = new Date(row.updated_at).toISOString()
      return row
    },

    addToken: (id, teamId, name, digest, rateLimit) =>
      q.addToken.run(id, teamId, name, digest, rateLimit),

    close: () => db.close()
  }
}
