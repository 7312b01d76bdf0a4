-- The log of requests to other systems (src/core/egress_log.h). Written in batches; rows older than the
-- setting egress_log_days are dropped. Texts hold no secrets: values of query parameters and secret path
-- segments are masked before a row is made, headers and bodies are not kept.
CREATE TABLE integration_request_log (
    team_id        TEXT    NOT NULL,
    id             TEXT    NOT NULL, -- UUIDv7: the order of ending
    integration_id TEXT,             -- NULL: a call of no integration, a webhook subscription's for one
    user_id        TEXT,             -- who made it happen; NULL: the server by itself
    method         TEXT    NOT NULL,
    endpoint       TEXT    NOT NULL, -- '' = the address was not valid
    status         INTEGER,          -- NULL: no answer
    success        INTEGER NOT NULL, -- 1 = an answer with 2xx
    outcome        TEXT    NOT NULL, -- ok, denied, dns, timeout … (src/base/egress.h)
    error          TEXT,             -- sentence, NULL with ok
    duration_ms    BIGINT  NOT NULL,
    sent_bytes     BIGINT  NOT NULL,
    got_bytes      BIGINT  NOT NULL,
    redirects      INTEGER NOT NULL,
    at_ms          BIGINT  NOT NULL, -- when it was asked for
    PRIMARY KEY (team_id, id)
);
CREATE INDEX integration_request_log_integration ON integration_request_log (team_id, integration_id, id);
CREATE INDEX integration_request_log_at ON integration_request_log (at_ms); -- retention

-- {postgres}
ALTER TABLE integration_request_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE integration_request_log FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON integration_request_log USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
-- {both}
