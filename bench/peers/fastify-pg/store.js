/* pg store: a pool of 32, named prepared statements. A create is ONE statement, a CTE that inserts
 * ticket and usage row: the same transaction as BEGIN, INSERT, INSERT, COMMIT in one round trip
 * instead of four, and faster. */
import pg from 'pg'
import { readFileSync } from 'node:fs'

const POOL_MAX = 32

const SQL = {
  token: `SELECT id, team_id, status, expires_at, rate_limit FROM tokens WHERE token_hash = $1`,
  used: `SELECT count(*)::integer AS n FROM usage
    WHERE token_id = $1 AND created_at >= to_timestamp($2::double precision / 1000)`,
  addToken: `INSERT INTO tokens (id, team_id, name, token_hash, status, rate_limit)
    VALUES ($1, $2, $3, $4, 'active', $5) ON CONFLICT (token_hash) DO NOTHING`,
  create: `WITH ticket AS (
      INSERT INTO tickets (id, team_id, token_id, title, description, status, priority, category,
        metadata, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10))
    INSERT INTO usage (token_id, endpoint, method, status, took_ms, ip, user_agent, error, payload,
      created_at) VALUES ($3, $11, $12, $13, $14, $15, $16, $17, $18, $10)`,
  addUsage: `INSERT INTO usage (token_id, endpoint, method, status, took_ms, ip, user_agent, error,
      payload, created_at)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::real[],
      $6::text[], $7::text[], $8::text[], $9::text[], $10::timestamptz[])`,
  ticket: `SELECT id, title, description, status, priority, category, metadata, created_at,
    updated_at FROM tickets WHERE id = $1 AND token_id = $2`
}
const USAGE_COLUMNS = ['tokenId', 'endpoint', 'method', 'status', 'tookMs', 'ip', 'userAgent',
  'error', 'payload']

export async function openStore (url) {
  const pool = new pg.Pool({ connectionString: url, max: POOL_MAX, idleTimeoutMillis: 0 })
  pool.on('error', (error) => process.stderr.write(`idle connection: ${error.message}\n`))
  await pool.query(readFileSync(new URL('./schema.sql', import.meta.url), 'utf8'))
  const query = (name, values) => pool.query({ name, text: SQL[name], values })

  return {
    createTicket: (t, token, now, u) => query('create', [t.id, token.teamId, token.id, t.title,
      t.description, t.status, t.priority, t.category, JSON.stringify(t.metadata), t.created_at,
      u.endpoint, u.method, u.status, u.tookMs, u.ip, u.userAgent, u.error, u.payload]),

    async findToken (digest, hourStartMs) {
      const row = (await query('token', [digest])).rows[0]
      if (row === undefined) return null
      const used = hourStartMs === null
        ? 0
        : (await query('used', [row.id, hourStartMs])).rows[0].n
      return {
        id: row.id,
        teamId: row.team_id,
        active: row.status === 'active',
        expiresAtMs: row.expires_at === null ? null : Number(row.expires_at),
        rateLimit: row.rate_limit,
        used
      }
    },

    async getTicket (id, tokenId) {
      const row = (await query('ticket', [id, tokenId])).rows[0]
      if (row === undefined) return null
      row.created_at = row.created_at.toISOString()
      row.updated_at = row.updated_at.toISOString()
      return row
    },

    saveUsage (rows) {
      const columns = USAGE_COLUMNS.map((name) => rows.map((row) => row[name]))
      columns.push(rows.map((row) => new Date(row.atMs).toISOString()))
      return query('addUsage', columns)
    },

    addToken: (id, teamId, name, digest, rateLimit) =>
      query('addToken', [id, teamId, name, digest, rateLimit]),

    close: () => pool.end()
  }
}
