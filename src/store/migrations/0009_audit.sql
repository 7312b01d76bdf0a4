-- The audit log. Rows of a team form a chain (src/core/audit.h); audit_head holds its newest link,
-- and its row is the lock that puts the writers of a team in order. Rows outlive their team.
CREATE TABLE audit_log (
    team_id     TEXT   NOT NULL,
    seq         BIGINT NOT NULL, -- 1, 2, 3 … in each team, without gaps
    at_ms       BIGINT NOT NULL,
    actor_kind  TEXT   NOT NULL, -- key, user, cli
    actor_id    TEXT   NOT NULL, -- '' for the command line
    actor_name  TEXT   NOT NULL,
    ip          TEXT   NOT NULL,
    agent       TEXT   NOT NULL,
    request_id  TEXT,
    action      TEXT   NOT NULL, -- noun.verb
    target_type TEXT   NOT NULL,
    target_id   TEXT   NOT NULL,
    before_json TEXT,
    after_json  TEXT,
    prev_hash   TEXT   NOT NULL, -- of row seq - 1; '' in the first
    hash        TEXT   NOT NULL, -- version, key id and hash over all of the above
    PRIMARY KEY (team_id, seq)
);
CREATE INDEX audit_log_target ON audit_log (team_id, target_type, target_id, seq);
CREATE INDEX audit_log_actor ON audit_log (team_id, actor_id, seq);

CREATE TABLE audit_head (
    team_id TEXT   NOT NULL PRIMARY KEY,
    seq     BIGINT NOT NULL,
    hash    TEXT   NOT NULL
);

-- Rows are written once. Who owns the database can drop these; the chain is what finds it then.
-- {sqlite}
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'audit_log is append-only');
END;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'audit_log is append-only');
END;
-- {postgres}
CREATE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only';
END
$$;
CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse();
ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON audit_log USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE audit_head ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_head FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON audit_head USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
-- {both}
