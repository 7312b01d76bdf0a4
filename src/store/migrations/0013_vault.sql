-- Keys under which secrets are sealed, each wrapped by the master key; the state of a rotation; texts that do not open.

-- Team '' is the server itself: what belongs to no team. Purpose 'data' seals columns; the others are keys of their own.
CREATE TABLE vault_key (
    team_id    TEXT   NOT NULL,
    purpose    TEXT   NOT NULL, -- data, audit, recovery, web
    version    BIGINT NOT NULL, -- 1, 2, 3 … of the team and purpose
    id         TEXT   NOT NULL, -- 16 hex digits; texts name their key by it
    kek_id     TEXT   NOT NULL, -- the master key that wraps it
    wrapped    TEXT   NOT NULL,
    state      TEXT   NOT NULL, -- active: seals and opens; old: opens; retired: nothing is left under it
    uses       BIGINT NOT NULL, -- texts sealed, at most
    created_ms BIGINT NOT NULL,
    retired_ms BIGINT,
    PRIMARY KEY (team_id, purpose, version),
    UNIQUE (team_id, id)
);
CREATE UNIQUE INDEX vault_key_active ON vault_key (team_id, purpose) WHERE state = 'active';

-- A rotation of a team's data key that has begun and not ended: where it stands.
CREATE TABLE vault_rotation (
    team_id     TEXT   NOT NULL PRIMARY KEY,
    key_id      TEXT   NOT NULL, -- the key that it rotates to
    at_table    TEXT   NOT NULL, -- '': all columns are walked
    at_column   TEXT   NOT NULL,
    last_row    TEXT   NOT NULL, -- done up to this row of the column
    resealed    BIGINT NOT NULL,
    quarantined BIGINT NOT NULL,
    started_ms  BIGINT NOT NULL,
    seen_ms     BIGINT NOT NULL
);

-- Texts that a rotation could not open. They are left where they are, as they are.
CREATE TABLE vault_quarantine (
    team_id     TEXT   NOT NULL,
    table_name  TEXT   NOT NULL,
    column_name TEXT   NOT NULL,
    row_id      TEXT   NOT NULL,
    reason      TEXT   NOT NULL, -- malformed, no_key, key_damaged, other_master_key, damaged
    seen_by     TEXT   NOT NULL, -- key id of the rotation that saw it last, or 'master'
    at_ms       BIGINT NOT NULL,
    PRIMARY KEY (team_id, table_name, column_name, row_id)
);

-- {postgres}
-- The server's own keys (team '') are seen by the server itself only.
ALTER TABLE vault_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE vault_key FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON vault_key USING (
    (team_id <> '' AND team_id = current_setting('tessera.team', true))
    OR current_setting('tessera.system', true) = 'on');
ALTER TABLE vault_rotation ENABLE ROW LEVEL SECURITY;
ALTER TABLE vault_rotation FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON vault_rotation USING (current_setting('tessera.system', true) = 'on');
ALTER TABLE vault_quarantine ENABLE ROW LEVEL SECURITY;
ALTER TABLE vault_quarantine FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON vault_quarantine USING (current_setting('tessera.system', true) = 'on');
-- {both}
