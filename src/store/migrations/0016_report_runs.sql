-- Scheduled reports: when each is due and what became of its runs; reminders of keys that end.
ALTER TABLE report_schedule ADD COLUMN deliveries TEXT;    -- JSON array of targets; NULL: to the recipients
ALTER TABLE report_schedule ADD COLUMN runs_as TEXT;       -- key or user with whose rights it runs; NULL: created_by
ALTER TABLE report_schedule ADD COLUMN next_ms BIGINT NOT NULL DEFAULT 0; -- when it is due; 0: to be worked out
ALTER TABLE report_schedule ADD COLUMN paused_reason TEXT; -- why the server has switched it off
CREATE INDEX report_schedule_due ON report_schedule (next_ms) WHERE is_enabled = 1;

CREATE TABLE report_run (
    team_id     TEXT   NOT NULL REFERENCES team (id),
    id          TEXT   NOT NULL,
    report_id   TEXT   NOT NULL,
    schedule_id TEXT   NOT NULL,
    cause       TEXT   NOT NULL, -- schedule, manual
    state       TEXT   NOT NULL, -- queued, running, done, failed, refused
    due_ms      BIGINT NOT NULL,
    format      TEXT   NOT NULL,
    runs_as     TEXT,            -- with whose rights
    job_id      TEXT   NOT NULL,
    export_id   TEXT,            -- its file
    n_rows      BIGINT,
    size_bytes  BIGINT,
    error       TEXT,
    created_ms  BIGINT NOT NULL,
    started_ms  BIGINT,
    finished_ms BIGINT,
    PRIMARY KEY (team_id, id)
);
CREATE INDEX report_run_schedule ON report_run (team_id, schedule_id, id);
CREATE INDEX report_run_open ON report_run (team_id, schedule_id) WHERE finished_ms IS NULL;
CREATE INDEX report_run_finished ON report_run (finished_ms) WHERE finished_ms IS NOT NULL;

CREATE TABLE report_delivery (
    team_id    TEXT    NOT NULL,
    run_id     TEXT    NOT NULL,
    n          BIGINT  NOT NULL,
    type       TEXT    NOT NULL, -- email, webhook
    target     TEXT    NOT NULL, -- the address, the id of the webhook
    is_outside INTEGER NOT NULL, -- 1: the address of nobody in the team when the schedule was saved
    state      TEXT    NOT NULL, -- waiting, sent, failed
    attempts   BIGINT  NOT NULL,
    error      TEXT,             -- of the last attempt
    sent_ms    BIGINT,
    PRIMARY KEY (team_id, run_id, n),
    FOREIGN KEY (team_id, run_id) REFERENCES report_run (team_id, id)
);
CREATE INDEX report_delivery_mailed ON report_delivery (team_id, sent_ms) WHERE sent_ms IS NOT NULL;

-- Who was told that a key ends. user_id '': the event. A key whose end moves is told of anew.
CREATE TABLE key_reminder (
    team_id    TEXT   NOT NULL,
    key_id     TEXT   NOT NULL,
    expires_ms BIGINT NOT NULL,
    days       BIGINT NOT NULL, -- before the end: 7, 1
    user_id    TEXT   NOT NULL,
    sent_ms    BIGINT,          -- NULL: a job is to send it
    PRIMARY KEY (team_id, key_id, expires_ms, days, user_id)
);
CREATE INDEX key_reminder_open ON key_reminder (team_id, user_id) WHERE sent_ms IS NULL;
CREATE INDEX key_reminder_expiry ON key_reminder (expires_ms);
CREATE INDEX integration_tokens_expiry ON integration_tokens (expires_ms)
    WHERE expires_ms IS NOT NULL AND status = 'active';

-- {postgres}
ALTER TABLE report_run ENABLE ROW LEVEL SECURITY;
ALTER TABLE report_run FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON report_run USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE report_delivery ENABLE ROW LEVEL SECURITY;
ALTER TABLE report_delivery FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON report_delivery USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
ALTER TABLE key_reminder ENABLE ROW LEVEL SECURITY;
ALTER TABLE key_reminder FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON key_reminder USING (
    team_id = current_setting('tessera.team', true) OR current_setting('tessera.system', true) = 'on');
-- {both}
