CREATE TABLE IF NOT EXISTS tokens (
    id uuid PRIMARY KEY,
    team_id uuid NOT NULL,
    name text NOT NULL,
    token_hash text NOT NULL UNIQUE,
    status text NOT NULL,
    rate_limit integer NOT NULL,
    expires_at bigint
);

CREATE TABLE IF NOT EXISTS tickets (
    id uuid PRIMARY KEY,
    team_id uuid NOT NULL,
    token_id uuid NOT NULL,
    title text NOT NULL,
    description text,
    status text NOT NULL,
    priority text NOT NULL,
    category text,
    metadata json NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS tickets_by_token ON tickets (token_id, created_at);
CREATE INDEX IF NOT EXISTS tickets_by_status ON tickets (team_id, status, created_at);

CREATE TABLE IF NOT EXISTS usage (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_id uuid,
    endpoint text NOT NULL,
    method text NOT NULL,
    status integer NOT NULL,
    took_ms real NOT NULL,
    ip text NOT NULL,
    user_agent text,
    error text,
    payload text,
    created_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS usage_by_token ON usage (token_id, created_at);
