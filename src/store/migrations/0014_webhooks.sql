-- Events (src/core/event.h) and the webhooks that carry them out (src/connect/webhook/).

-- What happened, written in the unit of the change. seq rises in the order of writing; for one entity, whose row is
-- locked by its change, that is the order of commits. There may be gaps. Numbers are not used again.
-- {sqlite}
CREATE TABLE event (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
-- {postgres}
CREATE TABLE event (
    seq        BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
-- {both}
    team_id    TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    type       TEXT    NOT NULL, -- ticket.created …
    subject_id TEXT    NOT NULL, -- id of the ticket, comment …
    entity     TEXT    NOT NULL, -- what events are kept in order for: ticket:ID
    actor_kind TEXT    NOT NULL, -- key, user, cli, server
    actor_id   TEXT    NOT NULL, -- '' = none
    actor_name TEXT    NOT NULL,
    data       TEXT    NOT NULL, -- JSON object
    previous   TEXT,             -- JSON object: what changed, as it was
    at_ms      BIGINT  NOT NULL,
    is_new     INTEGER NOT NULL, -- 1: not yet given to the webhooks
    webhook_id TEXT,             -- a test: for this webhook alone, never new
    UNIQUE (team_id, id)
);
CREATE INDEX event_new ON event (seq) WHERE is_new = 1;

CREATE TABLE webhook (
    team_id         TEXT    NOT NULL,
    id              TEXT    NOT NULL,
    url             TEXT    NOT NULL,
    description     TEXT,
    events          TEXT    NOT NULL, -- JSON array of types: *, ticket.*, ticket.created
    filter          TEXT,             -- JSON array of conditions, all of which must hold
    headers         TEXT,             -- sealed: JSON object of more headers
    header_names    TEXT    NOT NULL, -- JSON array, to be shown
    payload         TEXT    NOT NULL, -- full, thin
    is_ordered      INTEGER NOT NULL, -- 1: one at a time of an entity, in its order
    state           TEXT    NOT NULL, -- enabled, disabled
    disabled_reason TEXT,             -- manual, gone, failing
    failing_ms      BIGINT,           -- since when nothing arrived; NULL: the last attempt did
    notice          INTEGER NOT NULL, -- percent of the time to its disabling of which people were told
    success_ms      BIGINT,           -- when something last arrived
    version         BIGINT  NOT NULL,
    created_by      TEXT,
    created_ms      BIGINT  NOT NULL,
    updated_ms      BIGINT  NOT NULL,
    deleted_ms      BIGINT,
    PRIMARY KEY (team_id, id)
);
CREATE INDEX webhook_live ON webhook (team_id) WHERE deleted_ms IS NULL;

CREATE TABLE webhook_secret (
    team_id    TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    webhook_id TEXT   NOT NULL,
    kind       TEXT   NOT NULL, -- hmac, ed25519
    secret     TEXT   NOT NULL, -- sealed
    hint       TEXT   NOT NULL, -- last four characters
    public_key TEXT,            -- ed25519
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,          -- signs until then; NULL: for good
    PRIMARY KEY (team_id, id)
);
CREATE INDEX webhook_secret_of ON webhook_secret (team_id, webhook_id, id);

-- One event on its way to one webhook.
CREATE TABLE webhook_delivery (
    team_id    TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    webhook_id TEXT    NOT NULL,
    event_id   TEXT    NOT NULL,
    event_seq  BIGINT  NOT NULL,
    event_type TEXT    NOT NULL,
    entity     TEXT    NOT NULL,
    payload    TEXT    NOT NULL, -- full, thin
    is_ordered INTEGER NOT NULL,
    is_replay  INTEGER NOT NULL, -- 1: sent again on demand
    state      TEXT    NOT NULL, -- waiting, sending, delivered, failed, cancelled
    attempt    BIGINT  NOT NULL, -- that were made
    due_ms     BIGINT  NOT NULL,
    lease_ms   BIGINT,           -- while it is sent: until when nobody else takes it
    lease_token TEXT,            -- while it is sent: of the one who may finish it
    status     INTEGER,          -- of the last attempt's answer
    error      TEXT,             -- of the last attempt
    created_ms BIGINT  NOT NULL,
    finished_ms BIGINT,
    PRIMARY KEY (team_id, id)
);
CREATE UNIQUE INDEX webhook_delivery_once ON webhook_delivery (team_id, webhook_id, event_id) WHERE is_replay = 0;
CREATE INDEX webhook_delivery_again ON webhook_delivery (team_id, webhook_id, event_id) WHERE is_replay = 1;
CREATE INDEX webhook_delivery_line ON webhook_delivery (team_id, webhook_id, due_ms, event_seq) WHERE state = 'waiting';
CREATE INDEX webhook_delivery_order ON webhook_delivery (team_id, webhook_id, entity, event_seq)
    WHERE is_ordered = 1 AND state IN ('waiting', 'sending');
CREATE INDEX webhook_delivery_sending ON webhook_delivery (lease_ms) WHERE state = 'sending';
CREATE INDEX webhook_delivery_over ON webhook_delivery (finished_ms) WHERE finished_ms IS NOT NULL;
CREATE INDEX webhook_delivery_list ON webhook_delivery (team_id, webhook_id, id);

CREATE TABLE webhook_attempt (
    team_id     TEXT    NOT NULL,
    delivery_id TEXT    NOT NULL,
    n           BIGINT  NOT NULL, -- 1, 2 …
    at_ms       BIGINT  NOT NULL,
    duration_ms BIGINT  NOT NULL,
    status      INTEGER,          -- NULL: no answer
    outcome     TEXT    NOT NULL, -- ok, timeout … (src/base/egress.h)
    error       TEXT,
    body        TEXT,             -- first 20 kB of the answer
    PRIMARY KEY (team_id, delivery_id, n)
);

-- When a webhook has something to send next: the line of those that are to be looked at.
CREATE TABLE webhook_lane (
    team_id    TEXT   NOT NULL,
    webhook_id TEXT   NOT NULL,
    wake_ms    BIGINT NOT NULL,
    PRIMARY KEY (team_id, webhook_id)
);
CREATE INDEX webhook_lane_wake ON webhook_lane (wake_ms);

-- One row: whoever gives events to the webhooks locks it, so that it is done by one at a time.
CREATE TABLE webhook_fan (
    one   INTEGER NOT NULL PRIMARY KEY,
    turns BIGINT  NOT NULL
);
INSERT INTO webhook_fan (one, turns) VALUES (1, 0);

-- {postgres}
ALTER TABLE event ENABLE ROW LEVEL SECURITY;
ALTER TABLE event FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON event USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE webhook ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhook USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE webhook_secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_secret FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhook_secret USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE webhook_delivery ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_delivery FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhook_delivery USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE webhook_attempt ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_attempt FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhook_attempt USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE webhook_lane ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_lane FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhook_lane USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
-- {both}
