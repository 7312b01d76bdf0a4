-- First schema. Lines between "-- {sqlite}" / "-- {postgres}" and "-- {both}" apply to that database only.
-- Times are milliseconds since 1970 UTC, durations microseconds, booleans 0/1, ids UUIDv7 text, JSON text.

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- Change feeds: the row of a feed is updated in each transaction that changes what it covers, so its value orders commits.
CREATE TABLE change_feed (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO change_feed (name, value) VALUES ('token', 1);

CREATE TABLE team (
    id         TEXT   NOT NULL PRIMARY KEY,
    slug       TEXT   NOT NULL UNIQUE,
    name       TEXT   NOT NULL,
    created_ms BIGINT NOT NULL
);
INSERT INTO team (id, slug, name, created_ms)
VALUES ('00000000-0000-7000-8000-000000000001', 'default', 'Default team', 0);

CREATE TABLE user_account (
    team_id       TEXT   NOT NULL REFERENCES team (id),
    id            TEXT   NOT NULL,
    email         TEXT   NOT NULL,
    name          TEXT   NOT NULL,
    role          TEXT   NOT NULL,
    password_hash TEXT   NOT NULL,
    created_ms    BIGINT NOT NULL,
    PRIMARY KEY (team_id, id)
);
CREATE UNIQUE INDEX user_account_email ON user_account (email);

CREATE TABLE integration_tokens (
    team_id           TEXT    NOT NULL REFERENCES team (id),
    id                TEXT    NOT NULL,
    name              TEXT    NOT NULL,
    description       TEXT,
    token_hash        TEXT    NOT NULL,
    token_prefix      TEXT    NOT NULL,
    previous_hash     TEXT,            -- the secret before the last regenerate, while its grace time runs
    previous_until_ms BIGINT,
    status            TEXT    NOT NULL, -- active, disabled, deleted
    rate_limit        BIGINT  NOT NULL, -- requests an hour
    scopes            TEXT    NOT NULL, -- JSON array
    allowed_endpoints TEXT,            -- JSON array or NULL = all
    allowed_ips       TEXT,            -- JSON array of CIDR or NULL = all
    metadata          TEXT    NOT NULL,
    expires_ms        BIGINT,
    last_used_ms      BIGINT,
    use_count         BIGINT  NOT NULL,
    created_by        TEXT,
    created_ms        BIGINT  NOT NULL,
    updated_ms        BIGINT  NOT NULL,
    rev               BIGINT  NOT NULL, -- value of the feed 'token' at the last change
    PRIMARY KEY (team_id, id)
);
CREATE UNIQUE INDEX integration_tokens_hash ON integration_tokens (token_hash);
CREATE INDEX integration_tokens_rev ON integration_tokens (rev);

CREATE TABLE tickets (
    team_id            TEXT   NOT NULL,
    id                 TEXT   NOT NULL,
    token_id           TEXT   NOT NULL, -- the token that created it and alone may see it by token
    integration_source TEXT   NOT NULL, -- name of that token at that time
    title              TEXT   NOT NULL,
    description        TEXT,
    status             TEXT   NOT NULL,
    priority           TEXT   NOT NULL,
    category           TEXT,
    metadata           TEXT   NOT NULL,
    version            BIGINT NOT NULL,
    created_ms         BIGINT NOT NULL,
    updated_ms         BIGINT NOT NULL,
    deleted_ms         BIGINT,
    PRIMARY KEY (team_id, id)
);
CREATE INDEX tickets_token ON tickets (team_id, token_id, id);
CREATE INDEX tickets_token_updated ON tickets (team_id, token_id, updated_ms, id);
CREATE INDEX tickets_token_status ON tickets (team_id, token_id, status, id);

CREATE TABLE ticket_comments (
    team_id            TEXT    NOT NULL,
    id                 TEXT    NOT NULL,
    ticket_id          TEXT    NOT NULL,
    token_id           TEXT    NOT NULL,
    integration_source TEXT    NOT NULL,
    content            TEXT    NOT NULL,
    is_internal        INTEGER NOT NULL,
    created_ms         BIGINT  NOT NULL,
    PRIMARY KEY (team_id, id),
    FOREIGN KEY (team_id, ticket_id) REFERENCES tickets (team_id, id)
);
CREATE INDEX ticket_comments_ticket ON ticket_comments (team_id, ticket_id, id);

CREATE TABLE idempotency_keys (
    team_id     TEXT    NOT NULL,
    token_id    TEXT    NOT NULL,
    route       TEXT    NOT NULL, -- "POST /v1/tickets" with ids filled in
    idem_key    TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL, -- SHA-256 of the body
    status      INTEGER NOT NULL,
    headers     TEXT    NOT NULL, -- JSON object
    body        TEXT    NOT NULL,
    expires_ms  BIGINT  NOT NULL,
    PRIMARY KEY (team_id, token_id, route, idem_key)
);
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_ms);

-- Usage. id = stream << 40 | sequence; a stream belongs to one writer of one run of one node. Rows up to a stream's mark
-- are in usage_rollup; rows above it are folded in by whoever finds the stream abandoned.
CREATE TABLE usage_stream (
    stream  BIGINT NOT NULL PRIMARY KEY,
    mark    BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL
);

-- {sqlite}
CREATE TABLE integration_token_usage (
    id               INTEGER PRIMARY KEY,
    team_id          TEXT    NOT NULL,
    token_id         TEXT,
    endpoint         TEXT    NOT NULL,
    method           TEXT    NOT NULL,
    status_code      INTEGER NOT NULL,
    response_time_us BIGINT  NOT NULL,
    ip_address       TEXT,
    user_agent       TEXT,
    request_payload  TEXT,
    error_message    TEXT,
    created_ms       BIGINT  NOT NULL
);
CREATE INDEX integration_token_usage_token ON integration_token_usage (token_id, id);
-- {postgres}
CREATE TABLE integration_token_usage (
    id               BIGINT  NOT NULL,
    team_id          TEXT    NOT NULL,
    token_id         TEXT,
    endpoint         TEXT    NOT NULL,
    method           TEXT    NOT NULL,
    status_code      INTEGER NOT NULL,
    response_time_us BIGINT  NOT NULL,
    ip_address       TEXT,
    user_agent       TEXT,
    request_payload  TEXT,
    error_message    TEXT,
    created_ms       BIGINT  NOT NULL
) PARTITION BY RANGE (created_ms);
CREATE TABLE integration_token_usage_rest PARTITION OF integration_token_usage DEFAULT;
CREATE INDEX integration_token_usage_id ON integration_token_usage (id);
CREATE INDEX integration_token_usage_token ON integration_token_usage (token_id, created_ms);
-- {both}

-- Counts and histograms by minute ('m'), hour ('h'), day ('d') and for ever ('t', per token); token_id and route '*' are
-- the sums of the team. b00…b39: requests that took up to 2^(i/2) * 16 µs, see core/hist.h.
CREATE TABLE usage_rollup (
    team_id   TEXT    NOT NULL,
    grain     TEXT    NOT NULL,
    bucket_ms BIGINT  NOT NULL,
    token_id  TEXT    NOT NULL, -- '' = no valid token
    route     TEXT    NOT NULL, -- "GET /v1/tickets/{id}"
    class     INTEGER NOT NULL, -- 2, 3, 4, 5 = hundreds of the status; 429 = limited
    n         BIGINT  NOT NULL,
    sum_us    BIGINT  NOT NULL,
    b00 BIGINT NOT NULL, b01 BIGINT NOT NULL, b02 BIGINT NOT NULL, b03 BIGINT NOT NULL, b04 BIGINT NOT NULL,
    b05 BIGINT NOT NULL, b06 BIGINT NOT NULL, b07 BIGINT NOT NULL, b08 BIGINT NOT NULL, b09 BIGINT NOT NULL,
    b10 BIGINT NOT NULL, b11 BIGINT NOT NULL, b12 BIGINT NOT NULL, b13 BIGINT NOT NULL, b14 BIGINT NOT NULL,
    b15 BIGINT NOT NULL, b16 BIGINT NOT NULL, b17 BIGINT NOT NULL, b18 BIGINT NOT NULL, b19 BIGINT NOT NULL,
    b20 BIGINT NOT NULL, b21 BIGINT NOT NULL, b22 BIGINT NOT NULL, b23 BIGINT NOT NULL, b24 BIGINT NOT NULL,
    b25 BIGINT NOT NULL, b26 BIGINT NOT NULL, b27 BIGINT NOT NULL, b28 BIGINT NOT NULL, b29 BIGINT NOT NULL,
    b30 BIGINT NOT NULL, b31 BIGINT NOT NULL, b32 BIGINT NOT NULL, b33 BIGINT NOT NULL, b34 BIGINT NOT NULL,
    b35 BIGINT NOT NULL, b36 BIGINT NOT NULL, b37 BIGINT NOT NULL, b38 BIGINT NOT NULL, b39 BIGINT NOT NULL,
    PRIMARY KEY (team_id, grain, bucket_ms, token_id, route, class)
);
CREATE INDEX usage_rollup_token ON usage_rollup (token_id, grain, bucket_ms);

CREATE VIEW integration_token_stats AS
SELECT t.team_id, t.id AS token_id, t.name, t.token_prefix, t.status, t.rate_limit, t.last_used_ms,
       COALESCE(SUM(u.n), 0) AS total_requests,
       COALESCE(SUM(CASE WHEN u.class >= 4 THEN u.n ELSE 0 END), 0) AS error_count,
       CASE WHEN COALESCE(SUM(u.n), 0) = 0 THEN NULL ELSE SUM(u.sum_us) / SUM(u.n) END AS average_response_time_us
FROM integration_tokens t
LEFT JOIN usage_rollup u ON u.team_id = t.team_id AND u.token_id = t.id AND u.grain = 't' AND u.bucket_ms = 0
WHERE t.status <> 'deleted'
GROUP BY t.team_id, t.id, t.name, t.token_prefix, t.status, t.rate_limit, t.last_used_ms;

CREATE VIEW recent_token_usage AS
SELECT u.id, u.team_id, u.token_id, t.name AS token_name, u.endpoint, u.method, u.status_code, u.response_time_us,
       u.ip_address, u.user_agent, u.request_payload, u.error_message, u.created_ms
FROM integration_token_usage u
LEFT JOIN integration_tokens t ON t.team_id = u.team_id AND t.id = u.token_id;

-- {postgres}
-- Row-level security: the server names the caller per unit of work (tessera.team, tessera.token, tessera.system). Views run
-- with the rights of who asks, so that they are covered too.
ALTER VIEW integration_token_stats SET (security_invoker = true);
ALTER VIEW recent_token_usage SET (security_invoker = true);
ALTER TABLE user_account ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_account FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON user_account USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE integration_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE integration_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON integration_tokens USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE tickets ENABLE ROW LEVEL SECURITY;
ALTER TABLE tickets FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tickets USING (
    (team_id = current_setting('tessera.team', true)
     AND (current_setting('tessera.token', true) = '' OR token_id = current_setting('tessera.token', true)))
    OR current_setting('tessera.system', true) = 'on');
ALTER TABLE ticket_comments ENABLE ROW LEVEL SECURITY;
ALTER TABLE ticket_comments FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON ticket_comments USING (
    (team_id = current_setting('tessera.team', true)
     AND (current_setting('tessera.token', true) = '' OR token_id = current_setting('tessera.token', true)))
    OR current_setting('tessera.system', true) = 'on');
ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON idempotency_keys USING (
    (team_id = current_setting('tessera.team', true)
     AND (current_setting('tessera.token', true) = '' OR token_id = current_setting('tessera.token', true)))
    OR current_setting('tessera.system', true) = 'on');
ALTER TABLE integration_token_usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE integration_token_usage FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON integration_token_usage USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
-- A partition that is named directly does not ask its parent.
ALTER TABLE integration_token_usage_rest ENABLE ROW LEVEL SECURITY;
ALTER TABLE integration_token_usage_rest FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON integration_token_usage_rest USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE usage_rollup ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_rollup FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON usage_rollup USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
-- {both}
