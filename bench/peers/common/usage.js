/* Usage rows: redaction of payloads, and a buffer for requests that write nothing else, saved
 * in one transaction every 50 ms. A full buffer drops rows instead of holding requests up. */
const FLUSH_MS = 50
const ROWS_MAX = 50000
const PAYLOAD_MAX = 4096
const SECRET = /pass|secret|token|authorization|api_?key|credential/i
const DEPTH_MAX = 64

function redact (value, depth) {
  if (value === null || typeof value !== 'object' || depth > DEPTH_MAX) return value
  if (Array.isArray(value)) return value.map((item) => redact(item, depth + 1))
  const out = {}
  for (const key in value) {
    out[key] = SECRET.test(key) ? '***' : redact(value[key], depth + 1)
  }
  return out
}

export function redactedPayload (body) {
  if (body === undefined || body === null) return null
  const text = JSON.stringify(redact(body, 0))
  return text.length > PAYLOAD_MAX ? text.slice(0, PAYLOAD_MAX) : text
}

export class UsageBuffer {
  constructor (store) {
    this.store = store
    this.rows = []
    this.saving = null
    this.timer = setInterval(() => this.flush(), FLUSH_MS)
    this.timer.unref()
  }

  add (row) {
    if (this.rows.length < ROWS_MAX) this.rows.push(row)
  }

  flush () {
    if (this.saving !== null || this.rows.length === 0) return this.saving
    const rows = this.rows
    this.rows = []
    this.saving = this.save(rows).finally(() => { this.saving = null })
    return this.saving
  }

  async save (rows) {
    try {
      await this.store.saveUsage(rows)
    } catch (error) {
      process.stderr.write(`usage rows lost: ${rows.length}: ${error.message}\n`)
    }
  }

  async close () {
    clearInterval(this.timer)
    await this.saving
    await this.flush()
  }
}
