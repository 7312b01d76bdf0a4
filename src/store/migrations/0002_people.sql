-- Users, memberships, sessions, reset links. One user over all teams; a membership says which teams and as what.

CREATE TABLE app_user (
    id              TEXT   NOT NULL PRIMARY KEY,
    email           TEXT   NOT NULL UNIQUE, -- lower case
    name            TEXT   NOT NULL,
    password_hash   TEXT,                   -- Argon2id; NULL: no password yet, or signs in elsewhere
    status          TEXT   NOT NULL,        -- active, disabled
    totp_secret     TEXT,                   -- sealed
    totp_step       BIGINT,                 -- the newest step that was used
    created_ms      BIGINT NOT NULL,
    updated_ms      BIGINT NOT NULL,
    last_sign_in_ms BIGINT
);

CREATE TABLE team_member (
    team_id    TEXT   NOT NULL,
    user_id    TEXT   NOT NULL,
    role       TEXT   NOT NULL, -- owner, admin, agent, viewer
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (team_id, user_id)
);
CREATE INDEX team_member_user ON team_member (user_id);

INSERT INTO app_user (id, email, name, password_hash, status, created_ms, updated_ms)
SELECT id, email, name, password_hash, 'active', created_ms, created_ms FROM user_account;
INSERT INTO team_member (team_id, user_id, role, created_ms)
SELECT team_id, id, role, created_ms FROM user_account;
DROP TABLE user_account;

CREATE TABLE user_session (
    id          TEXT   NOT NULL PRIMARY KEY,
    user_id     TEXT   NOT NULL,
    secret_hash TEXT   NOT NULL UNIQUE, -- SHA-256 of the cookie's value
    created_ms  BIGINT NOT NULL,
    seen_ms     BIGINT NOT NULL,
    expires_ms  BIGINT NOT NULL,        -- whatever is done with it
    ip          TEXT   NOT NULL,
    agent       TEXT   NOT NULL
);
CREATE INDEX user_session_user ON user_session (user_id, id);
CREATE INDEX user_session_expiry ON user_session (expires_ms);
CREATE INDEX user_session_seen ON user_session (seen_ms);

-- A link that sets a password, once; kind: reset or invite.
CREATE TABLE password_reset (
    token_hash TEXT   NOT NULL PRIMARY KEY,
    user_id    TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX password_reset_user ON password_reset (user_id);
CREATE INDEX password_reset_expiry ON password_reset (expires_ms);

-- {postgres}
ALTER TABLE team_member ENABLE ROW LEVEL SECURITY;
ALTER TABLE team_member FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON team_member USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
-- A team sees the users who are in it; made and changed they are by the server itself.
ALTER TABLE app_user ENABLE ROW LEVEL SECURITY;
ALTER TABLE app_user FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app_user USING (
    current_setting('tessera.system', true) = 'on' OR EXISTS (
        SELECT 1 FROM team_member m
        WHERE m.user_id = app_user.id AND m.team_id = current_setting('tessera.team', true)));
ALTER TABLE user_session ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_session FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON user_session USING (current_setting('tessera.system', true) = 'on');
ALTER TABLE password_reset ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_reset FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON password_reset USING (current_setting('tessera.system', true) = 'on');
-- {both}
