/* Tokens in memory, keyed by the SHA-256 of the secret, read again after one second, so that
 * disabling a token works at once in human terms. The hourly count lives in the entry and starts
 * from the usage rows of this hour, hence it survives a restart. Unknown digests are not kept. */
const FRESH_MS = 1000
const HOUR_MS = 3600000
const TOKENS_MAX = 10000

class Token {
  constructor (row, hour) {
    this.hour = hour
    this.used = row.used
    this.refresh(row)
  }

  refresh (row) {
    this.id = row.id
    this.teamId = row.teamId
    this.rateLimit = row.rateLimit
    this.loadedAt = Date.now()
  }

  /* Count one request; false when this hour's limit is reached. */
  take (now) {
    const hour = Math.floor(now / HOUR_MS)
    if (hour !== this.hour) {
      this.hour = hour
      this.used = 0
    }
    if (this.used >= this.rateLimit) return false
    this.used++
    return true
  }
}

export class TokenCache {
  constructor (store) {
    this.store = store
    this.entries = new Map()
    this.loading = new Map()
  }

  /* The entry when it is known and young, else undefined: then call load(). */
  fresh (digest) {
    const entry = this.entries.get(digest)
    return entry !== undefined && Date.now() - entry.loadedAt < FRESH_MS ? entry : undefined
  }

  /* A promise of the entry, or of null when the token may not be used; one query at a time. */
  load (digest) {
    let pending = this.loading.get(digest)
    if (pending === undefined) {
      pending = this.read(digest).finally(() => this.loading.delete(digest))
      this.loading.set(digest, pending)
    }
    return pending
  }

  async read (digest) {
    const hour = Math.floor(Date.now() / HOUR_MS)
    const known = this.entries.get(digest)
    const row = await this.store.findToken(digest, known === undefined ? hour * HOUR_MS : null)
    const usable = row !== null && row.active &&
      (row.expiresAtMs === null || row.expiresAtMs > Date.now())
    if (!usable) {
      this.entries.delete(digest)
      return null
    }
    if (known !== undefined) {
      known.refresh(row)
      return known
    }
    if (this.entries.size >= TOKENS_MAX) this.entries.clear()
    const entry = new Token(row, hour)
    this.entries.set(digest, entry)
    return entry
  }
}
