-- Usage analytics: the country of a request, the log by team and time, counts by country.
ALTER TABLE integration_token_usage ADD COLUMN country TEXT; -- ISO 3166-1 alpha-2, NULL = not known

-- The log is read newest first by time, of a team or of a key. On SQLite the key's index changes from id to time, so that
-- only one index is new.
CREATE INDEX integration_token_usage_team ON integration_token_usage (team_id, created_ms);
-- {sqlite}
DROP INDEX integration_token_usage_token;
CREATE INDEX integration_token_usage_key ON integration_token_usage (token_id, created_ms);
-- {both}

-- Rollups of one key, or of a whole team ('*'), over a range of time.
DROP INDEX usage_rollup_token;
CREATE INDEX usage_rollup_key ON usage_rollup (team_id, token_id, grain, bucket_ms);

-- Requests by country and hour ('h') or day ('d'); moves in the transaction of usage_rollup, so both tell the same.
CREATE TABLE usage_country (
    team_id   TEXT   NOT NULL,
    grain     TEXT   NOT NULL,
    bucket_ms BIGINT NOT NULL,
    country   TEXT   NOT NULL, -- '' = not known
    n         BIGINT NOT NULL,
    errors    BIGINT NOT NULL,
    PRIMARY KEY (team_id, grain, bucket_ms, country)
);

-- {postgres}
ALTER TABLE usage_country ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_country FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON usage_country USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
-- {both}
