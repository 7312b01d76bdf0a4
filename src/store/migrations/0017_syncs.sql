-- Syncs, and the runs that are reported of them: src/connect/sync.h, sync_run.h.
CREATE TABLE sync (
    team_id             TEXT    NOT NULL,
    id                  TEXT    NOT NULL,
    integration_id      TEXT    NOT NULL,
    name                TEXT    NOT NULL,
    is_enabled          INTEGER NOT NULL,
    direction           TEXT    NOT NULL, -- pull, push, bidirectional
    interval_ms         BIGINT,           -- NULL = only when somebody asks
    field_mappings      TEXT    NOT NULL, -- JSON array of objects, all members there
    conflict_resolution TEXT    NOT NULL, -- local, remote, manual
    last_run_ms         BIGINT,           -- when the last run was reported; NULL = none was
    last_status         TEXT,             -- of that run: success, partial, error
    version             BIGINT  NOT NULL, -- grows with each change and each run
    config_version      BIGINT  NOT NULL, -- version at the last change
    created_ms          BIGINT  NOT NULL,
    updated_ms          BIGINT  NOT NULL,
    deleted_ms          BIGINT,           -- the row goes once its runs are old
    PRIMARY KEY (team_id, id)
);
CREATE INDEX sync_of ON sync (team_id, integration_id, id);
CREATE INDEX sync_deleted ON sync (deleted_ms) WHERE deleted_ms IS NOT NULL;

CREATE TABLE sync_run (
    team_id         TEXT   NOT NULL,
    id              TEXT   NOT NULL, -- UUIDv7: the order in which they were reported
    sync_id         TEXT   NOT NULL,
    status          TEXT   NOT NULL, -- success, partial, error
    items_processed BIGINT NOT NULL,
    items_created   BIGINT NOT NULL,
    items_updated   BIGINT NOT NULL,
    items_skipped   BIGINT NOT NULL,
    errors          TEXT   NOT NULL, -- JSON array of texts
    error_count     BIGINT NOT NULL,
    duration_ms     BIGINT,
    started_ms      BIGINT,
    created_ms      BIGINT NOT NULL,
    PRIMARY KEY (team_id, id)
);
CREATE INDEX sync_run_of ON sync_run (team_id, sync_id, id);
CREATE INDEX sync_run_created ON sync_run (created_ms); -- retention

-- {postgres}
ALTER TABLE sync ENABLE ROW LEVEL SECURITY;
ALTER TABLE sync FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON sync USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE sync_run ENABLE ROW LEVEL SECURITY;
ALTER TABLE sync_run FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON sync_run USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
-- {both}
