-- Ticket projects, assignment, tags, watchers, activity.
-- Tickets of signed-in users have token_id '' and created_by_user. What a plain create leaves NULL stays out of the
-- partial indexes, so that it costs no more than before.
ALTER TABLE tickets ADD COLUMN project_id TEXT;
ALTER TABLE tickets ADD COLUMN assignee_id TEXT;      -- an agent
ALTER TABLE tickets ADD COLUMN contact_id TEXT;       -- whom it is about
ALTER TABLE tickets ADD COLUMN tags TEXT;             -- JSON array as shown; ticket_tag is for finding
ALTER TABLE tickets ADD COLUMN resolved_ms BIGINT;    -- when it became resolved or closed; NULL while it is neither
ALTER TABLE tickets ADD COLUMN created_by_user TEXT;
CREATE INDEX tickets_project ON tickets (team_id, project_id, id) WHERE project_id IS NOT NULL;
CREATE INDEX tickets_assignee ON tickets (team_id, assignee_id, id) WHERE assignee_id IS NOT NULL;
CREATE INDEX tickets_contact ON tickets (team_id, contact_id, id) WHERE contact_id IS NOT NULL;
-- Users list their whole team; by creation that is the primary key, by change it is this.
CREATE INDEX tickets_updated ON tickets (team_id, updated_ms, id);

ALTER TABLE ticket_comments ADD COLUMN created_by_user TEXT;

CREATE TABLE ticket_tag (
    team_id   TEXT NOT NULL,
    tag       TEXT NOT NULL, -- case folded
    ticket_id TEXT NOT NULL,
    PRIMARY KEY (team_id, tag, ticket_id),
    FOREIGN KEY (team_id, ticket_id) REFERENCES tickets (team_id, id)
);
CREATE INDEX ticket_tag_ticket ON ticket_tag (team_id, ticket_id);

CREATE TABLE ticket_watcher (
    team_id    TEXT   NOT NULL,
    ticket_id  TEXT   NOT NULL,
    id         TEXT   NOT NULL, -- of the user, agent or contact
    kind       TEXT   NOT NULL, -- user, agent, contact
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (team_id, ticket_id, id),
    FOREIGN KEY (team_id, ticket_id) REFERENCES tickets (team_id, id)
);
CREATE INDEX ticket_watcher_who ON ticket_watcher (team_id, id, ticket_id);

CREATE TABLE ticket_activity (
    team_id    TEXT   NOT NULL,
    ticket_id  TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    actor_kind TEXT   NOT NULL, -- key, user, cli
    actor_id   TEXT   NOT NULL, -- '' for the command line
    actor_name TEXT   NOT NULL,
    action     TEXT   NOT NULL,
    changes    TEXT   NOT NULL, -- JSON array of {field, from, to}
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (team_id, ticket_id, id),
    FOREIGN KEY (team_id, ticket_id) REFERENCES tickets (team_id, id)
);

-- {postgres}
-- A key sees what belongs to the tickets that it sees; users (no token) see all of their team.
ALTER TABLE ticket_tag ENABLE ROW LEVEL SECURITY;
ALTER TABLE ticket_tag FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON ticket_tag USING (
    (team_id = current_setting('tessera.team', true)
     AND (current_setting('tessera.token', true) = '' OR EXISTS (
         SELECT 1 FROM tickets t WHERE t.team_id = ticket_tag.team_id AND t.id = ticket_tag.ticket_id)))
    OR current_setting('tessera.system', true) = 'on');
ALTER TABLE ticket_watcher ENABLE ROW LEVEL SECURITY;
ALTER TABLE ticket_watcher FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON ticket_watcher USING (
    (team_id = current_setting('tessera.team', true)
     AND (current_setting('tessera.token', true) = '' OR EXISTS (
         SELECT 1 FROM tickets t WHERE t.team_id = ticket_watcher.team_id AND t.id = ticket_watcher.ticket_id)))
    OR current_setting('tessera.system', true) = 'on');
ALTER TABLE ticket_activity ENABLE ROW LEVEL SECURITY;
ALTER TABLE ticket_activity FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON ticket_activity USING (
    (team_id = current_setting('tessera.team', true)
     AND (current_setting('tessera.token', true) = '' OR EXISTS (
         SELECT 1 FROM tickets t WHERE t.team_id = ticket_activity.team_id AND t.id = ticket_activity.ticket_id)))
    OR current_setting('tessera.system', true) = 'on');
-- A key reads its own comments, and what others answered on its tickets unless that is internal.
DROP POLICY tenant ON ticket_comments;
CREATE POLICY tenant ON ticket_comments USING (
    (team_id = current_setting('tessera.team', true)
     AND (current_setting('tessera.token', true) = '' OR token_id = current_setting('tessera.token', true)
          OR (is_internal = 0 AND EXISTS (
              SELECT 1 FROM tickets t WHERE t.team_id = ticket_comments.team_id AND t.id = ticket_comments.ticket_id))))
    OR current_setting('tessera.system', true) = 'on');
-- {both}
