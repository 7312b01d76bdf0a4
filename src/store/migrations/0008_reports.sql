-- Reports, schedules, exports.
CREATE TABLE report (
    team_id     TEXT   NOT NULL REFERENCES team (id),
    id          TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    description TEXT,
    definition  TEXT   NOT NULL, -- JSON object with every member, checked when it was stored
    version     BIGINT NOT NULL,
    created_by  TEXT,
    created_ms  BIGINT NOT NULL,
    updated_ms  BIGINT NOT NULL,
    deleted_ms  BIGINT,
    PRIMARY KEY (team_id, id)
);

CREATE TABLE report_schedule (
    team_id      TEXT    NOT NULL,
    report_id    TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    kind         TEXT    NOT NULL, -- daily, weekly, monthly, cron
    at_time      TEXT,             -- "07:30"; NULL: cron
    weekdays     TEXT,             -- JSON array: weekly
    day_of_month BIGINT,           -- monthly; a month without it: its last day
    cron         TEXT,
    time_zone    TEXT    NOT NULL,
    format       TEXT    NOT NULL, -- json, csv, xlsx
    recipients   TEXT    NOT NULL, -- JSON array of e-mail addresses
    is_enabled   INTEGER NOT NULL,
    version      BIGINT  NOT NULL,
    created_by   TEXT,
    created_ms   BIGINT  NOT NULL,
    updated_ms   BIGINT  NOT NULL,
    PRIMARY KEY (team_id, report_id, id),
    FOREIGN KEY (team_id, report_id) REFERENCES report (team_id, id)
);

-- An export and the file it makes. Who asked for it alone sees it, and keys with admin:full and owners.
CREATE TABLE report_export (
    team_id         TEXT   NOT NULL REFERENCES team (id),
    id              TEXT   NOT NULL,
    kind            TEXT   NOT NULL, -- report, usage, tickets, contacts
    report_id       TEXT,
    name            TEXT   NOT NULL, -- of the file, without its ending
    format          TEXT   NOT NULL,
    state           TEXT   NOT NULL, -- queued, running, done, failed
    progress        BIGINT NOT NULL,
    n_rows          BIGINT NOT NULL,
    size_bytes      BIGINT,
    error           TEXT,
    created_by_kind TEXT   NOT NULL, -- key, user, cli
    created_by_id   TEXT   NOT NULL,
    created_ms      BIGINT NOT NULL,
    finished_ms     BIGINT,
    expires_ms      BIGINT NOT NULL,
    home            TEXT   NOT NULL, -- the server and folder that has the file
    seen_ms         BIGINT NOT NULL, -- when that server last said that it is at it
    PRIMARY KEY (team_id, id)
);
CREATE INDEX report_export_expiry ON report_export (expires_ms);
CREATE INDEX report_export_open ON report_export (state, seen_ms) WHERE finished_ms IS NULL;

-- {postgres}
ALTER TABLE report ENABLE ROW LEVEL SECURITY;
ALTER TABLE report FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON report USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE report_schedule ENABLE ROW LEVEL SECURITY;
ALTER TABLE report_schedule FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON report_schedule USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE report_export ENABLE ROW LEVEL SECURITY;
ALTER TABLE report_export FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON report_export USING (
    (team_id = current_setting('tessera.team', true)
     AND (current_setting('tessera.token', true) = '' OR created_by_id = current_setting('tessera.token', true)))
    OR current_setting('tessera.system', true) = 'on');
-- {both}
