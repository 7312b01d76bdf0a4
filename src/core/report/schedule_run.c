/* Rows of runs and their deliveries: see schedule_run.h. */
#include "schedule_run.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../../base/log.h"
#include "../audit.h"
#include "../event.h"
#include "run_inner.h"
#include "schedule_send.h"
#include "schedule_target.h"

#define COLUMNS                                                                                    \
    "team_id, id, report_id, schedule_id, cause, state, due_ms AS due_at, format, runs_as, "       \
    "job_id, export_id, n_rows AS rows, size_bytes AS size, error, created_ms AS created_at, "     \
    "started_ms AS started_at, finished_ms AS finished_at"
#define DELIVERY_COLUMNS                                                                           \
    "n, type, target, is_outside AS outside, state, attempts, error, sent_ms AS sent_at"

static const char *const causes[] = { "schedule", "manual", NULL };
static const char *const states[] = { "queued", "running", "done", "failed", "refused", NULL };
static const char *const formats[] = { "json", "csv", "xlsx", NULL };
static const char *const types[] = { "email", "webhook", NULL };
static const char *const delivery_states[] = { "waiting", "sent", "failed", NULL };

#define D(member) offsetof(struct run_delivery, member)
static const struct field delivery_fields[] = {
    { "type", F_ENUM, D(type), 0, 0, 0, types, "How it goes there", NULL },
    { "target", F_STR, D(target), 0, 0, 0, NULL, "E-mail address, or id of the webhook", NULL },
    { "state", F_ENUM, D(state), 0, 0, 0, delivery_states,
      "waiting: not tried yet, or to be tried again", NULL },
    { "attempts", F_INT, D(attempts), 0, 0, 0, NULL, "Attempts so far", NULL },
    { "error", F_STR, D(error), F_NULLABLE, 0, 0, NULL, "Why the last attempt failed", NULL },
    { "sent_at", F_TIME, D(sent_ms), F_NULLABLE, 0, 0, NULL,
      "When the mail server had taken it, or the event for the webhook was written", NULL },
};
const struct rec rec_run_delivery =
    REC("ReportDelivery", struct run_delivery, delivery_fields, "A report on its way to a target.");
static const struct field delivery_row_fields[] = {
    { .name = "n", .type = F_INT, .offset = D(n) },
    { .name = "type", .type = F_STR, .offset = D(type) },
    { .name = "target", .type = F_STR, .offset = D(target) },
    { .name = "outside", .type = F_INT, .offset = D(is_outside) },
    { .name = "state", .type = F_STR, .offset = D(state) },
    { .name = "attempts", .type = F_INT, .offset = D(attempts) },
    { .name = "error", .type = F_STR, .offset = D(error) },
    { .name = "sent_at", .type = F_INT, .offset = D(sent_ms) },
};
static const struct rec rec_delivery_row = REC("ReportDeliveryRow", struct run_delivery,
                                               delivery_row_fields, "A delivery as it is stored.");

#define R(member) offsetof(struct run, member)
#define RUN_ROWS                                                                                        \
    { "id", F_UUID, R(id), 0, 0, 0, NULL, "Run identifier", NULL },                                     \
        { "report_id", F_UUID, R(report_id), 0, 0, 0, NULL, "The report", NULL },                       \
        { "schedule_id", F_UUID, R(schedule_id), 0, 0, 0, NULL, "Its schedule", NULL },                 \
        { "cause", F_ENUM, R(cause), 0, 0, 0, causes, "manual: somebody asked for it", NULL },          \
        { "state",                                                                                      \
          F_ENUM,                                                                                       \
          R(state),                                                                                     \
          0,                                                                                            \
          0,                                                                                            \
          0,                                                                                            \
          states,                                                                                       \
          "refused: whose rights it had may not any more; failed: there is no file, or a delivery "     \
          "failed",                                                                                     \
          NULL },                                                                                       \
        { "due_at", F_TIME, R(due_ms), 0, 0, 0, NULL, "When it was due", NULL },                        \
        { "format", F_ENUM, R(format), 0, 0, 0, formats, "Format of the file", NULL },                  \
        { "runs_as", F_UUID, R(runs_as), F_NULLABLE,                                                    \
          0,         0,      NULL,       "Id of the API key or user with whose rights it runs",         \
          NULL },                                                                                       \
        { "job_id", F_UUID, R(job_id), 0, 0, 0, NULL, "Its job: GET /v1/jobs/{job_id}", NULL },         \
        { "export_id",                                                                                  \
          F_UUID,                                                                                       \
          R(export_id),                                                                                 \
          F_NULLABLE,                                                                                   \
          0,                                                                                            \
          0,                                                                                            \
          NULL,                                                                                         \
          "Its file, for a day: GET /v1/exports/{export_id}/file",                                      \
          NULL },                                                                                       \
        { "rows", F_INT, R(rows), F_NULLABLE, 0, 0, NULL, "Rows of the file", NULL },                   \
        { "size", F_INT, R(size), F_NULLABLE, 0, 0, NULL, "Bytes of the file", NULL },                  \
        { "error", F_STR, R(error), F_NULLABLE, 0, 0, NULL, "Why it failed or was refused", NULL },     \
        { "created_at", F_TIME, R(created_ms), 0, 0, 0, NULL, "When it was put into the queue", NULL }, \
        { "started_at", F_TIME, R(started_ms), F_NULLABLE, 0, 0, NULL, "When it first began", NULL },   \
    {                                                                                                   \
        "finished_at", F_TIME, R(finished_ms), F_NULLABLE, 0, 0, NULL, "When it was over", NULL         \
    }
static const struct field run_fields[] = { RUN_ROWS };
const struct rec rec_run = REC("ReportRunRecord", struct run, run_fields, "A run of a schedule.");
static const struct field full_fields[] = {
    RUN_ROWS,
    { "deliveries", F_RECS, R(deliveries), 0, 0, 0, NULL, "Where it goes; empty until it runs",
      NULL, &rec_run_delivery },
};
const struct rec rec_run_full =
    REC("ReportRunDetail", struct run, full_fields, "A run of a schedule with its deliveries.");
static const struct field event_fields[] = {
    RUN_ROWS,
    { .name = "report_name", .type = F_STR, .offset = R(report_name) },
    { .name = "file_url", .type = F_STR, .offset = R(file_url), .flags = F_NULLABLE },
};
static const struct rec rec_run_event =
    REC("ReportRunEvent", struct run, event_fields, "What report.finished tells.");
static const struct field row_fields[] = {
    RUN_ROWS,
    { .name = "team_id", .type = F_STR, .offset = R(team_id) },
};
static const struct rec rec_run_row = REC("ReportRunRow", struct run, row_fields, "A stored run.");

/* ---- adding ---- */

enum err_code run_waits(struct ctx *cx, struct db *db, const struct schedule *s, bool *out)
{
    struct rec_num n;
    enum err_code e =
        db_one(cx, db, &rec_num,
               "SELECT 1 AS n FROM report_run WHERE team_id = $1 AND "
               "schedule_id = $2 AND finished_ms IS NULL AND state = 'queued' LIMIT 1",
               ARGS(VT(s->team_id), VT(s->id)), &n);
    *out = !e;
    return e == ERR_NOT_FOUND ? ERR_NONE : e;
}

enum err_code run_add(struct ctx *cx, struct db *db, const struct schedule *s,
                      const struct run_new *in, struct run *out)
{
    struct str id = uuid7(&cx->arena), job_id;
    const struct job_new job = { .kind = &report_run_kind,
                                 .key = s->id,
                                 .payload = str_printf(&cx->arena, "{\"run_id\":\"" STR_FMT "\"}",
                                                       STR_ARG(id)),
                                 .who = in->who };
    enum err_code e = job_add(cx, db, s->team_id, &job, &job_id);
    if (e)
        return e;
    return db_one(cx, db, &rec_run_row,
                  "INSERT INTO report_run (team_id, id, report_id, schedule_id, cause, state, "
                  "due_ms, format, runs_as, job_id, created_ms) VALUES ($1, $2, $3, $4, $5, "
                  "'queued', $6, $7, $8, $9, $10) RETURNING " COLUMNS,
                  ARGS(VT(s->team_id), VT(id), VT(s->report_id), VT(s->id), VT(str_of(in->cause)),
                       VI(in->due_ms), VT(s->format), VT(s->runs_as), VT(job_id), VI(clock_ms())),
                  out);
}

/* ---- what people do ---- */

enum err_code run_now(struct ctx *cx, struct db *db, const struct caller *who,
                      const struct schedule *of, struct run *out)
{
    struct schedule s = *of;
    bool is_waiting;
    s.team_id = who->team_id;
    enum err_code e = run_waits(cx, db, &s, &is_waiting);
    if (!e && is_waiting)
        e = fail(cx, CONFLICT, "A run of this schedule is waiting already");
    if (!e)
        e = run_add(cx, db, &s, &(struct run_new){ "manual", clock_ms(), who }, out);
    if (e)
        return e;
    out->deliveries = STR("[]");
    REC_SET(out, deliveries);
    return audit_write(cx, db, who,
                       &(struct audit_entry){ "report_schedule.run", "report_schedule", s.id,
                                              STR_NONE, audit_json(cx, &rec_run, out) });
}

enum err_code run_list(struct ctx *cx, struct db *db, const struct caller *who,
                       const struct schedule *of, const struct list_query *in,
                       struct cursor_key key, struct page *out)
{
    static const struct listing_from from = { .r = &rec_run_row,
                                              .kind = "report-runs:-id",
                                              .columns = COLUMNS,
                                              .table = "report_run",
                                              .id = "id",
                                              .is_down = true,
                                              .id_at = R(id) };
    struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct listing l;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    listing_and(&l, " AND schedule_id = ", VT(of->id), "");
    return listing_page(&l, db, &from, &ask, out);
}

static enum err_code read_run(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                              struct run *out)
{
    return db_one(cx, db, &rec_run_row,
                  "SELECT " COLUMNS " FROM report_run WHERE team_id = $1 AND id = $2",
                  ARGS(VT(team_id), VT(id)), out);
}

static enum err_code read_deliveries(struct ctx *cx, struct db *db, const struct run *r,
                                     struct list *out)
{
    return db_list(cx, db, &rec_delivery_row,
                   "SELECT " DELIVERY_COLUMNS
                   " FROM report_delivery WHERE team_id = $1 AND run_id = $2 ORDER BY n",
                   ARGS(VT(r->team_id), VT(r->id)), out);
}

enum err_code run_get(struct ctx *cx, struct db *db, const struct caller *who,
                      const struct schedule *of, struct str id, struct run *out)
{
    struct list found;
    struct buf b;
    enum err_code e = path_id(cx, "run_id", &id);
    if (!e)
        e = read_run(cx, db, who->team_id, id, out);
    if (e == ERR_NOT_FOUND || (!e && !str_eq(out->schedule_id, of->id)))
        return fail(cx, NOT_FOUND, "Run not found");
    if (!e)
        e = read_deliveries(cx, db, out, &found);
    if (e)
        return e;
    buf_init(&b, &cx->arena, TARGETS_MAX * 4096);
    buf_char(&b, '[');
    for (size_t i = 0; i < found.n; i++) {
        if (i)
            buf_char(&b, ',');
        rec_encode(&b, &rec_run_delivery, (const struct run_delivery *)found.v + i);
    }
    buf_char(&b, ']');
    out->deliveries = buf_view(&b);
    REC_SET(out, deliveries);
    return ERR_NONE;
}

/* ---- for the job ---- */

/* One row a target, as the schedule says now, and whose rights go with them. */
static enum err_code add_deliveries(struct ctx *cx, struct db *db, struct run *r)
{
    struct schedule s;
    struct targets *t = ARENA_NEW(&cx->arena, struct targets);
    enum err_code e = schedule_of_run(cx, db, r, &s);
    if (e)
        return e;
    r->runs_as = s.runs_as;
    r->format = s.format;
    targets_of_schedule(cx, &s, t);
    for (size_t i = 0; !e && i < t->n; i++)
        e = db_run(cx, db,
                   "INSERT INTO report_delivery (team_id, run_id, n, type, target, is_outside, "
                   "state, attempts) VALUES ($1, $2, $3, $4, $5, $6, 'waiting', 0)",
                   ARGS(VT(r->team_id), VT(r->id), VI((int64_t)i), VT(t->v[i].type),
                        VT(target_name(&t->v[i])), VI(t->v[i].is_outside)));
    return e;
}

static enum err_code retry_deliveries(struct ctx *cx, struct db *db, const struct run *r)
{
    return db_run(cx, db,
                  "UPDATE report_delivery SET state = 'waiting' WHERE team_id = $1 AND "
                  "run_id = $2 AND state = 'failed'",
                  ARGS(VT(r->team_id), VT(r->id)));
}

enum err_code run_begin(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                        bool is_first, struct run *out)
{
    struct list have;
    struct rec_num n;
    enum err_code e = read_run(cx, db, team_id, id, out);
    if (!e && (str_eq(out->state, STR("done")) || str_eq(out->state, STR("refused")) ||
               (str_eq(out->state, STR("failed")) && !is_first)))
        return ERR_NOT_FOUND; /* its end was stored, that of the job was not */
    if (!e)
        e = read_deliveries(cx, db, out, &have);
    if (!e && !have.n)
        e = add_deliveries(cx, db, out);
    else if (!e && is_first)
        e = retry_deliveries(cx, db, out);
    if (e)
        return e;
    out->state = STR("running");
    out->error = STR_NONE;
    return db_one(
        cx, db, &rec_num,
        "UPDATE report_run SET state = 'running', runs_as = $3, format = $4, "
        "started_ms = COALESCE(started_ms, $5), finished_ms = NULL, error = NULL WHERE "
        "team_id = $1 AND id = $2 RETURNING 1 AS n",
        ARGS(VT(out->team_id), VT(out->id), VT(out->runs_as), VT(out->format), VI(clock_ms())), &n);
}

enum err_code run_open_deliveries(struct ctx *cx, struct db *db, const struct run *r,
                                  struct list *out)
{
    return db_list(cx, db, &rec_delivery_row,
                   "SELECT " DELIVERY_COLUMNS " FROM report_delivery WHERE team_id = $1 AND "
                   "run_id = $2 AND state = 'waiting' ORDER BY n",
                   ARGS(VT(r->team_id), VT(r->id)), out);
}

enum err_code run_failed_deliveries(struct ctx *cx, struct db *db, const struct run *r,
                                    int64_t *out)
{
    struct rec_num n;
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT COUNT(*) AS n FROM report_delivery WHERE team_id = $1 AND "
                             "run_id = $2 AND state = 'failed'",
                             ARGS(VT(r->team_id), VT(r->id)), &n);
    *out = n.n;
    return e;
}

enum err_code run_delivered(struct ctx *cx, struct db *db, const struct run *r,
                            const struct run_delivery *d)
{
    bool is_sent = str_eq(d->state, STR("sent"));
    return db_run(cx, db,
                  "UPDATE report_delivery SET state = $4, error = $5, sent_ms = $6, "
                  "attempts = attempts + 1 WHERE team_id = $1 AND run_id = $2 AND n = $3",
                  ARGS(VT(r->team_id), VT(r->id), VI(d->n), VT(d->state), VT(d->error),
                       VI_OR_NULL(is_sent, clock_ms())));
}

/* ---- the event ---- */

static enum err_code emit(struct ctx *cx, struct db *db, const struct run *r, const char *state)
{
    const struct caller server = { .team_id = r->team_id };
    struct run told = *r;
    struct rec_text name = { .s = STR("") };
    enum err_code e =
        db_one(cx, db, &rec_text, "SELECT name AS s FROM report WHERE team_id = $1 AND id = $2",
               ARGS(VT(r->team_id), VT(r->report_id)), &name);
    if (e && e != ERR_NOT_FOUND)
        return e;
    told.state = str_of(state);
    if (told.error.p)
        REC_SET(&told, error);
    told.report_name = name.s;
    REC_SET(&told, report_name);
    if (r->file_url.p)
        REC_SET(&told, file_url);
    return event_emit(cx, db, &server,
                      &(struct event_new){ .type = EVENT_REPORT_FINISHED,
                                           .subject_id = r->report_id,
                                           .rec = &rec_run_event,
                                           .obj = &told,
                                           .is_servers = true });
}

/* What waits for the event: it is written, the rest is the webhooks' matter. */
static enum err_code deliver_webhooks(struct ctx *cx, struct db *db, const struct run *r,
                                      const struct list *open)
{
    enum err_code e = ERR_NONE;
    for (size_t i = 0; !e && i < open->n; i++) {
        struct run_delivery *d = (struct run_delivery *)open->v + i;
        const char *why = NULL;
        bool is_fine = false;
        if (!str_eq(d->type, STR("webhook")))
            continue;
        e = target_webhook_is_fine(cx, db, r->team_id, d->target, &is_fine, &why);
        d->state = is_fine ? STR("sent") : STR("failed");
        d->error = is_fine ? STR_NONE : str_printf(&cx->arena, "It %s", why);
        if (!e)
            e = run_delivered(cx, db, r, d);
    }
    return e;
}

static bool has_webhook(const struct list *open)
{
    bool has = false;
    for (size_t i = 0; i < open->n; i++)
        has |= str_eq(((const struct run_delivery *)open->v)[i].type, STR("webhook"));
    return has;
}

enum err_code run_made(struct ctx *cx, struct db *db, const struct run *r, bool is_first)
{
    struct run now;
    struct list open;
    enum err_code e =
        db_one(cx, db, &rec_run_row,
               "UPDATE report_run SET export_id = $3, n_rows = $4, size_bytes = $5 WHERE "
               "team_id = $1 AND id = $2 RETURNING " COLUMNS,
               ARGS(VT(r->team_id), VT(r->id), VT(r->export_id), VI(r->rows), VI(r->size)), &now);
    if (e)
        return e;
    now.file_url = r->file_url;
    e = run_open_deliveries(cx, db, &now, &open);
    if (!e && (is_first || has_webhook(&open)))
        e = emit(cx, db, &now, "done");
    return e ? e : deliver_webhooks(cx, db, &now, &open);
}

/* The schedule goes off; the row of the audit log says why. */
static enum err_code pause_schedule(struct ctx *cx, struct db *db, const struct run *r)
{
    const struct caller server = { .team_id = r->team_id, .ip = STR(""), .agent = STR("") };
    struct run told = *r;
    struct rec_num n;
    REC_SET(&told, error);
    enum err_code e =
        db_one(cx, db, &rec_num,
               "UPDATE report_schedule SET is_enabled = 0, paused_reason = $4, "
               "version = version + 1, updated_ms = $5 WHERE team_id = $1 AND "
               "report_id = $2 AND id = $3 AND is_enabled = 1 AND "
               "COALESCE(runs_as, created_by, '') = $6 RETURNING 1 AS n",
               ARGS(VT(r->team_id), VT(r->report_id), VT(r->schedule_id), VT(r->error),
                    VI(clock_ms()), VT(r->runs_as.p ? r->runs_as : STR(""))),
               &n);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    log_warn(cx, "report_schedule.paused", KVS("schedule", r->schedule_id), KVS("why", r->error));
    return audit_write(cx, db, &server,
                       &(struct audit_entry){ "report_schedule.pause", "report_schedule",
                                              r->schedule_id, STR_NONE,
                                              audit_json(cx, &rec_run, &told) });
}

enum err_code run_end(struct ctx *cx, struct db *db, const struct run *r)
{
    enum err_code e =
        db_run(cx, db,
               "UPDATE report_run SET state = $3, error = $4, finished_ms = $5 WHERE "
               "team_id = $1 AND id = $2",
               ARGS(VT(r->team_id), VT(r->id), VT(r->state), VT(r->error), VI(clock_ms())));
    if (!e && !str_eq(r->state, STR("done")))
        e = db_run(cx, db,
                   "UPDATE report_delivery SET state = 'failed', error = COALESCE(error, $3) WHERE "
                   "team_id = $1 AND run_id = $2 AND state = 'waiting'",
                   ARGS(VT(r->team_id), VT(r->id), VT(r->error)));
    if (!e && !r->export_id.p)
        e = emit(cx, db, r, str_cstr(&cx->arena, r->state));
    if (!e && str_eq(r->state, STR("refused")))
        e = pause_schedule(cx, db, r);
    return e;
}

enum err_code run_mails_left(struct ctx *cx, struct db *db, struct str team_id, int64_t *out)
{
    struct rec_num n;
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT COUNT(*) AS n FROM report_delivery WHERE team_id = $1 AND "
                             "sent_ms > $2 AND type = 'email'",
                             ARGS(VT(team_id), VI(clock_ms() - DAY_MS)), &n);
    *out = n.n < RUN_MAILS_A_DAY ? RUN_MAILS_A_DAY - n.n : 0;
    return e;
}

/* ---- open ones whose job is over ---- */

enum err_code runs_end_orphans(struct ctx *cx, struct db *db)
{
    struct list found;
    enum err_code e = db_list(
        cx, db, &rec_run_row,
        "SELECT " COLUMNS " FROM report_run r WHERE finished_ms IS NULL AND NOT EXISTS (SELECT 1 "
        "FROM job j WHERE j.team_id = r.team_id AND j.id = r.job_id AND j.state IN ('ready', "
        "'running')) LIMIT 50",
        NO_ARGS, &found);
    for (size_t i = 0; !e && i < found.n; i++) {
        struct run *r = (struct run *)found.v + i;
        r->state = STR("failed");
        r->error = STR("Its job was ended before it was over");
        e = run_end(cx, db, r);
    }
    return e;
}
