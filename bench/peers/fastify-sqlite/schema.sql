CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY,
    team_id TEXT NOT NULL,
    name TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    rate_limit INTEGER NOT NULL,
    expires_at INTEGER
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS tickets (
    id TEXT PRIMARY KEY,
    team_id TEXT NOT NULL,
    token_id TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT,
    status TEXT NOT NULL,
    priority TEXT NOT NULL,
    category TEXT,
    metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tickets_by_token ON tickets (token_id, created_at);
CREATE INDEX IF NOT EXISTS tickets_by_status ON tickets (team_id, status, created_at);

CREATE TABLE IF NOT EXISTS usage (
    id INTEGER PRIMARY KEY,
    token_id TEXT,
    endpoint TEXT NOT NULL,
    method TEXT NOT NULL,
    status INTEGER NOT NULL,
    took_ms REAL NOT NULL,
    ip TEXT NOT NULL,
    user_agent TEXT,
    error TEXT,
    payload TEXT,
    created_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS usage_by_token ON usage (token_id, created_at);
