-- The second factor, users of an outside issuer, projects; more of a team.

-- A begun enrolment of a second factor: the sealed secret waits here for its first code.
CREATE TABLE totp_pending (
    user_id    TEXT   NOT NULL PRIMARY KEY,
    secret     TEXT   NOT NULL,
    created_ms BIGINT NOT NULL
);

-- Recovery codes that were not used yet; the hash is keyed.
CREATE TABLE recovery_code (
    user_id    TEXT   NOT NULL,
    code_hash  TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, code_hash)
);

CREATE TABLE user_identity (
    issuer     TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    user_id    TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX user_identity_user ON user_identity (user_id);

ALTER TABLE team ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE team ADD COLUMN updated_ms BIGINT NOT NULL DEFAULT 0;
-- A deleted team keeps its row for the audit and usage logs; its slug is free again and it has no members.
ALTER TABLE team ADD COLUMN deleted_ms BIGINT;

CREATE TABLE project (
    team_id     TEXT   NOT NULL REFERENCES team (id),
    id          TEXT   NOT NULL,
    key         TEXT   NOT NULL, -- short, upper case: SUP
    name        TEXT   NOT NULL,
    description TEXT,
    status      TEXT   NOT NULL, -- active, archived
    version     BIGINT NOT NULL,
    created_ms  BIGINT NOT NULL,
    updated_ms  BIGINT NOT NULL,
    PRIMARY KEY (team_id, id),
    UNIQUE (team_id, key)
);

-- {postgres}
-- What belongs to a user and not to a team is read by the server itself only.
ALTER TABLE totp_pending ENABLE ROW LEVEL SECURITY;
ALTER TABLE totp_pending FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON totp_pending USING (current_setting('tessera.system', true) = 'on');
ALTER TABLE recovery_code ENABLE ROW LEVEL SECURITY;
ALTER TABLE recovery_code FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON recovery_code USING (current_setting('tessera.system', true) = 'on');
ALTER TABLE user_identity ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_identity FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON user_identity USING (current_setting('tessera.system', true) = 'on');
ALTER TABLE team ENABLE ROW LEVEL SECURITY;
ALTER TABLE team FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON team USING (
    id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE project ENABLE ROW LEVEL SECURITY;
ALTER TABLE project FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON project USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
-- {both}
