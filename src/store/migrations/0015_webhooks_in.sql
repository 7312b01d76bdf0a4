-- Integrations with other systems, and the webhooks that come from them: src/connect/integration.h, src/connect/in/.
CREATE TABLE integration (
    team_id         TEXT    NOT NULL,
    id              TEXT    NOT NULL,
    kind            TEXT    NOT NULL, -- jira, github … (src/connect/hook_scheme.h)
    name            TEXT    NOT NULL,
    event_types     TEXT    NOT NULL, -- JSON array of patterns; [] = all
    scheme          TEXT,             -- JSON object: how the sender signs, kind hmac only
    callback_url    TEXT,             -- as it is registered with the sender; NULL = public_url/hooks/id
    is_enabled      INTEGER NOT NULL,
    await_until_ms  BIGINT,           -- until then a handshake may bring a secret; NULL = none is awaited
    handshake_ms    BIGINT,           -- when the last one did
    version         BIGINT  NOT NULL,
    created_ms      BIGINT  NOT NULL,
    updated_ms      BIGINT  NOT NULL,
    deleted_ms      BIGINT,
    PRIMARY KEY (team_id, id)
);
-- A webhook names its integration alone: whose it is is what the look-up answers.
CREATE UNIQUE INDEX integration_id ON integration (id);

CREATE TABLE integration_secret (
    team_id        TEXT    NOT NULL,
    id             TEXT    NOT NULL,
    integration_id TEXT    NOT NULL,
    purpose        TEXT    NOT NULL, -- hook: checks what comes in
    secret         TEXT    NOT NULL, -- sealed
    hint           TEXT    NOT NULL, -- its last characters
    is_unconfirmed INTEGER NOT NULL, -- 1: a handshake brought it, no event was signed with it yet
    created_ms     BIGINT  NOT NULL,
    expires_ms     BIGINT,
    PRIMARY KEY (team_id, id)
);
CREATE INDEX integration_secret_of ON integration_secret (team_id, integration_id, purpose);
CREATE INDEX integration_secret_expires ON integration_secret (expires_ms) WHERE expires_ms IS NOT NULL;

-- What has come: kept longer than the payloads, so that a late second delivery is known.
CREATE TABLE hook_seen (
    team_id        TEXT   NOT NULL,
    integration_id TEXT   NOT NULL,
    event_key      TEXT   NOT NULL, -- the sender's id of the event
    event_id       TEXT   NOT NULL, -- webhook_log.id of the first delivery
    duplicates     BIGINT NOT NULL, -- deliveries after the first
    seen_ms        BIGINT NOT NULL,
    PRIMARY KEY (team_id, integration_id, event_key)
-- {sqlite}
) WITHOUT ROWID;
-- {postgres}
);
-- {both}
CREATE INDEX hook_seen_at ON hook_seen (seen_ms); -- retention

-- Small rows, which change once or twice; what is large and stays as it is has a table of its own.
CREATE TABLE webhook_log (
    team_id        TEXT    NOT NULL,
    id             TEXT    NOT NULL, -- UUIDv7: the order of arrival
    integration_id TEXT    NOT NULL,
    event_type     TEXT,             -- NULL: the sender says none
    event_key      TEXT,             -- NULL: the sender gives none
    state          TEXT    NOT NULL, -- received, processed, ignored, failed
    attempts       BIGINT  NOT NULL,
    due_ms         BIGINT  NOT NULL, -- while received: not before
    error          TEXT,
    received_ms    BIGINT  NOT NULL,
    processed_ms   BIGINT,
    replays        BIGINT  NOT NULL,
    size_bytes     BIGINT  NOT NULL, -- of the body as it came
    stored_bytes   BIGINT  NOT NULL, -- of body and headers as they are kept
    PRIMARY KEY (team_id, id)
-- {sqlite}
) WITHOUT ROWID;
-- {postgres}
);
-- {both}
CREATE INDEX webhook_log_of ON webhook_log (team_id, integration_id, id);
-- The line of an integration. With state among its columns SQLite takes it before the primary key.
CREATE INDEX webhook_log_waiting ON webhook_log (team_id, integration_id, state, due_ms, id)
    WHERE state = 'received';

CREATE TABLE webhook_payload (
    team_id   TEXT NOT NULL,
    id        TEXT NOT NULL, -- webhook_log.id
    headers   TEXT NOT NULL, -- JSON object
    body_form TEXT NOT NULL, -- text, base64
    body      TEXT NOT NULL,
    PRIMARY KEY (team_id, id)
);

-- Bytes of payloads that a team has stored.
CREATE TABLE hook_stored (
    team_id TEXT   NOT NULL PRIMARY KEY,
    bytes   BIGINT NOT NULL
);

-- {postgres}
ALTER TABLE integration ENABLE ROW LEVEL SECURITY;
ALTER TABLE integration FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON integration USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE integration_secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE integration_secret FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON integration_secret USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE hook_seen ENABLE ROW LEVEL SECURITY;
ALTER TABLE hook_seen FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON hook_seen USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE webhook_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_log FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhook_log USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE webhook_payload ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_payload FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhook_payload USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE hook_stored ENABLE ROW LEVEL SECURITY;
ALTER TABLE hook_stored FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON hook_stored USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
-- {both}
