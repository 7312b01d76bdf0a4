-- Contacts, agents. The side tables are made from their owner's row, in the unit that writes it, and are for finding only.

CREATE TABLE contact (
    team_id     TEXT   NOT NULL REFERENCES team (id),
    id          TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    company     TEXT,
    company_key TEXT,            -- case folded
    title       TEXT,
    emails      TEXT   NOT NULL, -- JSON arrays as shown
    phones      TEXT   NOT NULL,
    tags        TEXT   NOT NULL,
    terms       TEXT   NOT NULL, -- ' john smith acme ': the words of contact_term
    merged_into TEXT,            -- the contact that took this one over: always a live or a plainly deleted one
    version     BIGINT NOT NULL,
    created_by  TEXT,
    created_ms  BIGINT NOT NULL,
    updated_ms  BIGINT NOT NULL,
    deleted_ms  BIGINT,          -- deleted or merged
    metadata    TEXT   NOT NULL,
    PRIMARY KEY (team_id, id)
);
CREATE INDEX contact_updated ON contact (team_id, updated_ms, id) WHERE deleted_ms IS NULL;
CREATE INDEX contact_company ON contact (team_id, company_key, id) WHERE deleted_ms IS NULL;
CREATE INDEX contact_merged ON contact (team_id, merged_into) WHERE merged_into IS NOT NULL;

-- Words of name, company, e-mail addresses and phone numbers, folded; see docs/decisions/0013-contact-search.md.
CREATE TABLE contact_term (
    team_id    TEXT NOT NULL,
-- {sqlite}
    term       TEXT NOT NULL,
-- {postgres}
    term       TEXT COLLATE "C" NOT NULL,
-- {both}
    contact_id TEXT NOT NULL,
    PRIMARY KEY (team_id, term, contact_id)
-- {sqlite}
) WITHOUT ROWID;
-- {postgres}
);
-- {both}

CREATE TABLE contact_email (
    team_id    TEXT NOT NULL,
    email      TEXT NOT NULL, -- case folded
    contact_id TEXT NOT NULL,
    PRIMARY KEY (team_id, email, contact_id)
-- {sqlite}
) WITHOUT ROWID;
-- {postgres}
);
-- {both}

CREATE TABLE contact_phone (
    team_id    TEXT NOT NULL,
    phone      TEXT NOT NULL, -- digits, a plus before them when it was given
    contact_id TEXT NOT NULL,
    PRIMARY KEY (team_id, phone, contact_id)
-- {sqlite}
) WITHOUT ROWID;
-- {postgres}
);
-- {both}

CREATE TABLE contact_tag (
    team_id    TEXT NOT NULL,
    tag        TEXT NOT NULL, -- case folded
    contact_id TEXT NOT NULL,
    PRIMARY KEY (team_id, tag, contact_id)
-- {sqlite}
) WITHOUT ROWID;
-- {postgres}
);
-- {both}

CREATE TABLE contact_activity (
    team_id    TEXT   NOT NULL,
    contact_id TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    actor_kind TEXT   NOT NULL, -- key, user, cli
    actor_id   TEXT   NOT NULL, -- '' for the command line
    actor_name TEXT   NOT NULL,
    action     TEXT   NOT NULL,
    changes    TEXT   NOT NULL, -- JSON array of {field, from, to}
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (team_id, contact_id, id),
    FOREIGN KEY (team_id, contact_id) REFERENCES contact (team_id, id)
);

CREATE TABLE agent (
    team_id      TEXT   NOT NULL REFERENCES team (id),
    id           TEXT   NOT NULL,
    kind         TEXT   NOT NULL, -- user, bot
    user_id      TEXT,            -- of a user: a member of the team
    name         TEXT   NOT NULL,
    email        TEXT,
    teams        TEXT   NOT NULL, -- JSON arrays as shown
    skills       TEXT   NOT NULL,
    availability TEXT   NOT NULL, -- available, busy, away, offline
    status       TEXT   NOT NULL, -- active, inactive
    max_open     BIGINT,
    version      BIGINT NOT NULL,
    created_ms   BIGINT NOT NULL,
    updated_ms   BIGINT NOT NULL,
    deleted_ms   BIGINT,
    metadata     TEXT   NOT NULL,
    PRIMARY KEY (team_id, id)
);
CREATE UNIQUE INDEX agent_user ON agent (team_id, user_id) WHERE deleted_ms IS NULL;

CREATE TABLE agent_team (
    team_id  TEXT NOT NULL,
    team     TEXT NOT NULL, -- case folded
    agent_id TEXT NOT NULL,
    PRIMARY KEY (team_id, team, agent_id)
-- {sqlite}
) WITHOUT ROWID;
-- {postgres}
);
-- {both}

CREATE TABLE agent_skill (
    team_id  TEXT NOT NULL,
    skill    TEXT NOT NULL, -- case folded
    agent_id TEXT NOT NULL,
    PRIMARY KEY (team_id, skill, agent_id)
-- {sqlite}
) WITHOUT ROWID;
-- {postgres}
);
-- {both}

-- {postgres}
ALTER TABLE contact ENABLE ROW LEVEL SECURITY;
ALTER TABLE contact FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON contact USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE contact_term ENABLE ROW LEVEL SECURITY;
ALTER TABLE contact_term FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON contact_term USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE contact_email ENABLE ROW LEVEL SECURITY;
ALTER TABLE contact_email FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON contact_email USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE contact_phone ENABLE ROW LEVEL SECURITY;
ALTER TABLE contact_phone FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON contact_phone USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE contact_tag ENABLE ROW LEVEL SECURITY;
ALTER TABLE contact_tag FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON contact_tag USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE contact_activity ENABLE ROW LEVEL SECURITY;
ALTER TABLE contact_activity FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON contact_activity USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE agent ENABLE ROW LEVEL SECURITY;
ALTER TABLE agent FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON agent USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE agent_team ENABLE ROW LEVEL SECURITY;
ALTER TABLE agent_team FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON agent_team USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE agent_skill ENABLE ROW LEVEL SECURITY;
ALTER TABLE agent_skill FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON agent_skill USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
-- {both}
