-- Attachments and their blobs.
-- A blob is one content of one team, stored once under its hash; its file exists before its row and outlives it.
CREATE TABLE blob (
    team_id    TEXT   NOT NULL,
    sha256     TEXT   NOT NULL, -- lower case hex
    size       BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (team_id, sha256)
);

CREATE TABLE attachment (
    team_id         TEXT   NOT NULL,
    id              TEXT   NOT NULL,
    ticket_id       TEXT   NOT NULL,
    comment_id      TEXT,
    name            TEXT   NOT NULL,
    media_type      TEXT   NOT NULL,
    size            BIGINT NOT NULL,
    sha256          TEXT   NOT NULL,
    created_by_kind TEXT   NOT NULL, -- key, user
    created_by_id   TEXT   NOT NULL,
    created_by_name TEXT   NOT NULL,
    created_ms      BIGINT NOT NULL,
    PRIMARY KEY (team_id, id),
    FOREIGN KEY (team_id, ticket_id) REFERENCES tickets (team_id, id),
    FOREIGN KEY (team_id, sha256) REFERENCES blob (team_id, sha256)
);
CREATE INDEX attachment_ticket ON attachment (team_id, ticket_id, id);
CREATE INDEX attachment_blob ON attachment (team_id, sha256);
CREATE INDEX attachment_comment ON attachment (team_id, comment_id) WHERE comment_id IS NOT NULL;

-- {postgres}
ALTER TABLE blob ENABLE ROW LEVEL SECURITY;
ALTER TABLE blob FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON blob USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE attachment ENABLE ROW LEVEL SECURITY;
ALTER TABLE attachment FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON attachment USING (
    (team_id = current_setting('tessera.team', true)
     AND (current_setting('tessera.token', true) = '' OR EXISTS (
         SELECT 1 FROM tickets t WHERE t.team_id = attachment.team_id AND t.id = attachment.ticket_id)))
    OR current_setting('tessera.system', true) = 'on');
-- {both}
