-- Attachments and their blobs.
-- A blob is one content of one team, kept once, in the object <team_id>/<aa>/<sha256>-<nonce>. The nonce is new with each
-- write, so that an object which is being removed is never the one that an upload has just written.
CREATE TABLE blob (
    team_id    TEXT   NOT NULL,
    sha256     TEXT   NOT NULL, -- lower case hex
    nonce      TEXT   NOT NULL,
    size       BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (team_id, sha256)
);

-- Objects that may exist and that no blob refers to: noted before an upload is written and when a blob goes. Housekeeping
-- removes them when they are due. So every object that exists has a row here or in blob, whatever is killed when.
CREATE TABLE blob_loose (
    team_id  TEXT    NOT NULL,
    sha256   TEXT    NOT NULL,
    nonce    TEXT    NOT NULL,
    due_ms   BIGINT  NOT NULL,
    is_taken INTEGER NOT NULL, -- 1: it is being removed, and no upload may claim it any more
    PRIMARY KEY (team_id, sha256, nonce)
);
CREATE INDEX blob_loose_due ON blob_loose (due_ms);

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
ALTER TABLE blob_loose ENABLE ROW LEVEL SECURITY;
ALTER TABLE blob_loose FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON blob_loose USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE attachment ENABLE ROW LEVEL SECURITY;
ALTER TABLE attachment FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON attachment USING (
    (team_id = current_setting('tessera.team', true)
     AND (current_setting('tessera.token', true) = '' OR EXISTS (
         SELECT 1 FROM tickets t WHERE t.team_id = attachment.team_id AND t.id = attachment.ticket_id)))
    OR current_setting('tessera.system', true) = 'on');
-- {both}
