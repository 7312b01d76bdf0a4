-- Durable jobs: core/job/. The team '' is the server itself (housekeeping); no team sees its rows.
CREATE TABLE job (
    team_id         TEXT    NOT NULL,
    id              TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    key             TEXT    NOT NULL, -- '' = none
    lane            TEXT    NOT NULL, -- key where the kind limits how many of a key run, else ''
    is_single       INTEGER NOT NULL, -- 1: at most one ready job of its kind and key
    state           TEXT    NOT NULL, -- ready, running, done, dead, cancelled
    priority        BIGINT  NOT NULL, -- least first
    payload         TEXT,             -- JSON object
    attempt         BIGINT  NOT NULL, -- that were begun and count
    attempts        BIGINT  NOT NULL, -- at most
    due_ms          BIGINT  NOT NULL,
    lease_token     TEXT,             -- while it runs: of the one who may finish it
    lease_ms        BIGINT,           -- while it runs: until when nobody else takes it
    node            TEXT,             -- who ran it last
    is_cancelled    INTEGER NOT NULL, -- 1: it runs and has been asked to stop
    progress        BIGINT  NOT NULL, -- percent
    note            TEXT,             -- what it is at
    error           TEXT,             -- why the last attempt failed
    created_by_kind TEXT,             -- key, user, cli
    created_by_id   TEXT,
    created_ms      BIGINT  NOT NULL,
    started_ms      BIGINT,
    finished_ms     BIGINT,           -- done, dead, cancelled
    PRIMARY KEY (team_id, id)
);
-- The line of a lane, in the order in which it is served.
CREATE INDEX job_line ON job (team_id, kind, lane, due_ms, id) WHERE state = 'ready';
CREATE UNIQUE INDEX job_single ON job (team_id, kind, key) WHERE state = 'ready' AND is_single = 1;
CREATE INDEX job_running ON job (kind, team_id, lane) WHERE state = 'running';
CREATE INDEX job_state ON job (team_id, state, id);
CREATE INDEX job_finished ON job (finished_ms) WHERE finished_ms IS NOT NULL;

-- Where something may be claimed: one row for a team, kind and lane that has or had ready jobs not long
-- ago. wake_ms 0: may have something now; else when to look again.
CREATE TABLE job_lane (
    team_id  TEXT   NOT NULL,
    kind     TEXT   NOT NULL,
    lane     TEXT   NOT NULL,
    priority BIGINT NOT NULL,
    served   BIGINT NOT NULL, -- when a job was last taken from it
    wake_ms  BIGINT NOT NULL,
    idle_ms  BIGINT NOT NULL, -- since when it was seen without a due job; 0 = it had one
    PRIMARY KEY (team_id, kind, lane)
);
CREATE INDEX job_lane_active ON job_lane (team_id, priority, served) WHERE wake_ms = 0;
CREATE INDEX job_lane_wake ON job_lane (wake_ms) WHERE wake_ms > 0;

-- Kinds as all nodes share them.
CREATE TABLE job_kind (
    kind      TEXT    NOT NULL PRIMARY KEY,
    next_ms   BIGINT  NOT NULL, -- a periodic one: when the next job of it is made
    is_paused INTEGER NOT NULL  -- 1: for all teams
);

-- Kinds that a team has paused for itself.
CREATE TABLE job_pause (
    team_id   TEXT   NOT NULL,
    kind      TEXT   NOT NULL,
    paused_ms BIGINT NOT NULL,
    PRIMARY KEY (team_id, kind)
);

-- {postgres}
ALTER TABLE job ENABLE ROW LEVEL SECURITY;
ALTER TABLE job FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON job USING (
    (team_id <> '' AND team_id = current_setting('tessera.team', true))
    OR current_setting('tessera.system', true) = 'on');
ALTER TABLE job_lane ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_lane FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON job_lane USING (
    (team_id <> '' AND team_id = current_setting('tessera.team', true))
    OR current_setting('tessera.system', true) = 'on');
ALTER TABLE job_pause ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_pause FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON job_pause USING (
    (team_id <> '' AND team_id = current_setting('tessera.team', true))
    OR current_setting('tessera.system', true) = 'on');
-- {both}
