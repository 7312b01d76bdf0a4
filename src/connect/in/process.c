/* What is done with the webhooks that were taken: see process.h. */
#include "process.h"

#include <string.h>

#include "../../base/clock.h"
#include "../../base/json.h"
#include "../../core/event.h"
#include "../integration.h"
#include "payload.h"
#include "retention.h"

#define BATCH_MAX 200
#define BATCHES_MAX 25 /* of one run: then others may run first */
#define AGAIN_MS 50    /* before the next run */
#define DATA_MAX 4096
#define ERROR_MAX 500
#define DUE_MAX 1000                 /* integrations in one look */
#define DUE_AGE_MS INT64_C(10000)    /* what is younger has its job */
#define WAIT_MS INT64_C(60000)       /* after the first failure, then doubled … */
#define WAIT_MAX_MS INT64_C(3600000) /* … up to this */

/* ---- one batch ---- */

struct row {
    struct rec_bits bits;
    struct str id, event_type, event_key;
    int64_t attempts, received_ms, replays;
    const char *state; /* what becomes of it: not a column */
    struct str error;
    int64_t due_ms;
};
#define AT(member) offsetof(struct row, member)
static const struct field row_fields[] = {
    { "id", F_STR, AT(id), 0, 0, 0, NULL, NULL, NULL },
    { "event_type", F_STR, AT(event_type), 0, 0, 0, NULL, NULL, NULL },
    { "event_key", F_STR, AT(event_key), 0, 0, 0, NULL, NULL, NULL },
    { "attempts", F_INT, AT(attempts), 0, 0, 0, NULL, NULL, NULL },
    { "received_ms", F_INT, AT(received_ms), 0, 0, 0, NULL, NULL, NULL },
    { "replays", F_INT, AT(replays), 0, 0, 0, NULL, NULL, NULL },
};
static const struct rec rec_row =
    REC("HookWaiting", struct row, row_fields, "An event that waits.");

struct owner {
    struct rec_bits bits;
    struct str kind, event_types;
    int64_t stored, deleted_ms;
};
static const struct field owner_fields[] = {
    { "kind", F_STR, offsetof(struct owner, kind), 0, 0, 0, NULL, NULL, NULL },
    { "event_types", F_STR, offsetof(struct owner, event_types), 0, 0, 0, NULL, NULL, NULL },
    { "stored", F_INT, offsetof(struct owner, stored), 0, 0, 0, NULL, NULL, NULL },
    { "deleted_ms", F_INT, offsetof(struct owner, deleted_ms), 0, 0, 0, NULL, NULL, NULL },
};
static const struct rec rec_owner = REC("HookOwner", struct owner, owner_fields, "Whose events.");

struct batch {
    const struct hook_work *work;
    struct str team_id, integration_id;
    struct owner owner;
    struct list rows;
    int64_t now_ms;
    bool is_told; /* somebody outside wants to know */
};

static enum err_code read_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct batch *b = arg;
    db_scope(db, b->team_id, STR(""));
    enum err_code e =
        db_one(cx, db, &rec_owner,
               "SELECT i.kind AS kind, i.event_types AS event_types, i.deleted_ms AS deleted_ms, "
               "COALESCE(s.bytes, 0) AS stored FROM integration i LEFT JOIN hook_stored s ON "
               "s.team_id = i.team_id WHERE i.team_id = $1 AND i.id = $2",
               ARGS(VT(b->team_id), VT(b->integration_id)), &b->owner);
    if (e)
        return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "The integration is gone") : e;
    return db_list(
        cx, db, &rec_row,
        "SELECT id, event_type, event_key, attempts, received_ms, replays FROM webhook_log WHERE "
        "team_id = $1 AND integration_id = $2 AND state = 'received' AND due_ms <= $3 "
        "ORDER BY due_ms, id LIMIT $4",
        ARGS(VT(b->team_id), VT(b->integration_id), VI(b->now_ms), VI(BATCH_MAX)), &b->rows);
}

/* ---- handing over ---- */

struct body {
    struct batch *b;
    struct row *row;
    struct str bytes;
};
struct stored {
    struct rec_bits bits;
    struct str form, body;
};
static const struct field stored_fields[] = {
    { "form", F_STR, offsetof(struct stored, form), 0, 0, 0, NULL, NULL, NULL },
    { "body", F_STR, offsetof(struct stored, body), 0, 0, 0, NULL, NULL, NULL },
};
static const struct rec rec_stored = REC("HookBody", struct stored, stored_fields, "A body.");

static enum err_code body_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct body *want = arg;
    struct stored s;
    db_scope(db, want->b->team_id, STR(""));
    enum err_code e =
        db_one(cx, db, &rec_stored,
               "SELECT body_form AS form, body FROM webhook_payload WHERE team_id = $1 AND id = $2",
               ARGS(VT(want->b->team_id), VT(want->row->id)), &s);
    if (e)
        return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "The event is gone") : e;
    return payload_bytes(&cx->arena, s.form, s.body, &want->bytes)
               ? ERR_NONE
               : fail(cx, INTERNAL, "a stored body is damaged");
}

static const struct hook_handler *handler_of(const struct batch *b)
{
    for (const struct hook_handler *h = b->work->handlers; h && h->kind; h++)
        if (str_eq(b->owner.kind, str_of(h->kind)))
            return h;
    return NULL;
}

/* In a ctx of its own: bodies are large, and a failure is this event's alone. */
static enum err_code hand_over(struct ctx *cx, struct job_run *r, struct batch *b, struct row *row,
                               const struct hook_handler *h)
{
    struct ctx own;
    struct body want = { .b = b, .row = row };
    ctx_init(&own, CTX_CAP_DEFAULT);
    own.deadline_us = cx->deadline_us;
    own.stop = cx->stop;
    own.request_id = row->id;
    enum err_code e = store_read(&own, r->store, body_unit, &want);
    const struct hook_event event = { .team_id = b->team_id,
                                      .integration_id = b->integration_id,
                                      .kind = b->owner.kind,
                                      .id = row->id,
                                      .event_type = row->event_type,
                                      .event_key = row->event_key,
                                      .body = want.bytes,
                                      .received_ms = row->received_ms,
                                      .attempt = row->attempts + 1 };
    if (!e)
        e = h->run(&own, r->store, &event, h->arg);
    if (e) {
        struct str why =
            own.err_text.p && e != ERR_INTERNAL ? own.err_text : str_of(err_info(e)->text);
        row->error = str_dup(&cx->arena, str_sub(why, 0, ERROR_MAX));
    }
    ctx_done(&own);
    return e;
}

static int64_t wait_ms(int64_t attempt)
{
    int64_t wait = WAIT_MS;
    for (int64_t i = 1; i < attempt && wait < WAIT_MAX_MS; i++)
        wait *= 2;
    return wait < WAIT_MAX_MS ? wait : WAIT_MAX_MS;
}

static void judge(struct batch *b, struct row *row, enum err_code e)
{
    int64_t attempt = row->attempts + 1;
    if (!e) {
        row->state = "processed";
    } else if (err_info(e)->retry == RETRY_NEVER || attempt >= PROCESS_ATTEMPTS) {
        row->state = "failed";
    } else {
        row->state = "received";
        row->due_ms = b->now_ms + wait_ms(attempt);
    }
}

/* Decides for each row; stops when the run has to. */
static enum err_code handle_all(struct ctx *cx, struct job_run *r, struct batch *b)
{
    const struct hook_handler *h = handler_of(b);
    struct row *rows = b->rows.v;
    for (size_t i = 0; i < b->rows.n; i++) {
        if (!ctx_ok(cx))
            return cx->err;
        if (REC_HAS(&b->owner, deleted_ms) ||
            !event_type_wanted(cx, b->owner.event_types, rows[i].event_type))
            rows[i].state = "ignored";
        else
            judge(b, &rows[i], h ? hand_over(cx, r, b, &rows[i], h) : ERR_NONE);
    }
    return ERR_NONE;
}

/* ---- marking ---- */

static enum err_code emit(struct ctx *cx, struct db *db, const struct batch *b,
                          const struct row *row)
{
    const struct caller who = { .team_id = b->team_id };
    struct buf data;
    buf_init(&data, &cx->arena, DATA_MAX);
    buf_lit(&data, "{\"integration_id\":");
    json_write_str(&data, b->integration_id);
    buf_lit(&data, ",\"kind\":");
    json_write_str(&data, b->owner.kind);
    buf_lit(&data, ",\"event_type\":");
    row->event_type.p ? json_write_str(&data, row->event_type) : buf_lit(&data, "null");
    buf_lit(&data, ",\"event_key\":");
    row->event_key.p ? json_write_str(&data, row->event_key) : buf_lit(&data, "null");
    buf_lit(&data, ",\"webhook_log_id\":");
    json_write_str(&data, row->id);
    buf_lit(&data, ",\"received_at\":\"");
    time_print_ms(&data, row->received_ms);
    buf_printf(&data, "\",\"replay\":%s}", row->replays ? "true" : "false");
    return event_emit(cx, db, &who,
                      &(struct event_new){ .type = EVENT_INTEGRATION_EVENT_RECEIVED,
                                           .subject_id = b->integration_id,
                                           .data = buf_view(&data),
                                           .is_servers = true });
}

/* Only the one who moves the row on tells of it: the run may be the second one of its job. */
static enum err_code mark(struct ctx *cx, struct db *db, const struct batch *b,
                          const struct row *row)
{
    struct rec_num moved;
    bool is_done = !strcmp(row->state, "processed");
    enum err_code e = db_one(
        cx, db, &rec_num,
        "UPDATE webhook_log SET state = $3, attempts = attempts + 1, error = $4, processed_ms = "
        "$5, due_ms = $6 WHERE team_id = $1 AND id = $2 AND state = 'received' RETURNING 1 AS n",
        ARGS(VT(b->team_id), VT(row->id), VT(str_of(row->state)), VT(row->error),
             VI_OR_NULL(is_done, b->now_ms), VI(row->due_ms)),
        &moved);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    return is_done && b->is_told ? emit(cx, db, b, row) : ERR_NONE;
}

static enum err_code mark_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct batch *b = arg;
    struct rec_num one;
    db_scope(db, b->team_id, STR(""));
    enum err_code e =
        db_one(cx, db, &rec_num,
               "SELECT 1 AS n FROM webhook WHERE team_id = $1 AND deleted_ms IS NULL LIMIT 1",
               ARGS(VT(b->team_id)), &one);
    b->is_told = !e;
    e = e == ERR_NOT_FOUND ? ERR_NONE : e;
    for (size_t i = 0; i < b->rows.n && !e; i++)
        e = mark(cx, db, b, (const struct row *)b->rows.v + i);
    /* Twice as many leave as came, so that a log that is too large gets smaller. */
    if (!e && b->owner.stored > b->work->quota_bytes)
        e = hook_log_evict(cx, db, b->team_id, 2 * BATCH_MAX);
    return e;
}

struct calm {
    const struct job *job;
    bool is_calm;
};

static enum err_code again_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct job *job = arg;
    db_scope(db, job->team_id, STR(""));
    return job_add(
        cx, db, job->team_id,
        &(struct job_new){ .kind = &hook_process, .key = job->key, .delay_ms = AGAIN_MS }, NULL);
}

/* Whether all who have joined this job by now are committed. Alone: what it reads later is newer. */
static enum err_code calm_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct rec_num got;
    const struct job *job = ((struct calm *)arg)->job;
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT CASE WHEN pg_try_advisory_xact_lock(" HOOK_LOCK_KEYS
                             ") THEN 1 ELSE 0 END AS n",
                             ARGS(VT(job->key)), &got);
    if (!e)
        ((struct calm *)arg)->is_calm = got.n;
    return e;
}

static enum err_code one_batch(struct ctx *cx, struct job_run *r, bool *is_over)
{
    struct ctx own;
    struct batch b = { .work = r->arg,
                       .team_id = r->job->team_id,
                       .integration_id = r->job->key,
                       .now_ms = clock_ms() };
    ctx_init(&own, CTX_CAP_DEFAULT);
    own.deadline_us = cx->deadline_us;
    own.stop = cx->stop;
    enum err_code e = store_read(&own, r->store, read_unit, &b);
    *is_over = e || b.rows.n < BATCH_MAX;
    if (!e && b.rows.n)
        e = handle_all(&own, r, &b);
    if (!e && b.rows.n)
        e = store_tx(&own, r->store, mark_unit, &b);
    if (e)
        ctx_fail(cx, e, STR_FMT,
                 STR_ARG(own.err_text.p ? own.err_text : str_of(err_info(e)->text)));
    ctx_done(&own);
    return e;
}

/* All that waits, and on PostgreSQL one more look after nobody is joining any more. */
static enum err_code process(struct ctx *cx, struct job_run *r)
{
    struct calm calm = { r->job, !store_is_postgres(r->store) };
    for (int i = 0; i < BATCHES_MAX; i++) {
        bool is_over = false;
        enum err_code e = one_batch(cx, r, &is_over);
        if (!e && is_over && calm.is_calm)
            return ERR_NONE;
        if (!e && is_over)
            e = store_read(cx, r->store, calm_unit, &calm);
        if (e)
            return e;
        if (!ctx_ok(cx))
            return cx->err;
        if (is_over && !calm.is_calm)
            break;
    }
    return store_tx(cx, r->store, again_unit, (void *)(uintptr_t)r->job);
}

static const int64_t process_waits[] = { 1000, 5000, 30000, 120000, 0 };
const struct job_kind hook_process = { .name = "hook.process",
                                       .run = process,
                                       .timeout_ms = 5 * 60 * 1000,
                                       .attempts = 10,
                                       .backoff_ms = process_waits,
                                       .jitter = 20,
                                       .per_key = 1,
                                       .priority = 3,
                                       .is_single = true,
                                       .doc = "Processes the webhooks that an integration has "
                                              "received" };

/* ---- what has no job ----
 *
 * An event that is tried again later has none. So those that wait are looked for once a minute. */

struct due {
    struct rec_bits bits;
    struct str team_id, integration_id;
};
static const struct field due_fields[] = {
    { "team_id", F_STR, offsetof(struct due, team_id), 0, 0, 0, NULL, NULL, NULL },
    { "integration_id", F_STR, offsetof(struct due, integration_id), 0, 0, 0, NULL, NULL, NULL },
};
static const struct rec rec_due = REC("HookDue", struct due, due_fields, "Whose events wait.");

static enum err_code due_unit(struct ctx *cx, struct db *db, void *arg)
{
    int64_t now = clock_ms();
    struct list list;
    (void)arg;
    db_scope_system(db);
    enum err_code e =
        db_list(cx, db, &rec_due,
                "SELECT DISTINCT team_id, integration_id FROM webhook_log WHERE state = 'received' "
                "AND due_ms <= $1 AND received_ms <= $2 LIMIT $3",
                ARGS(VI(now), VI(now - DUE_AGE_MS), VI(DUE_MAX)), &list);
    for (size_t i = 0; i < list.n && !e; i++) {
        const struct due *d = (const struct due *)list.v + i;
        e = job_add(cx, db, d->team_id,
                    &(struct job_new){ .kind = &hook_process, .key = d->integration_id }, NULL);
    }
    return e;
}

static enum err_code look_for_due(struct ctx *cx, struct job_run *r)
{
    return store_tx(cx, r->store, due_unit, NULL);
}

static const int64_t due_waits[] = { 5000, 30000, 0 };
const struct job_kind hooks_due = { .name = "hooks.due",
                                    .run = look_for_due,
                                    .timeout_ms = 60 * 1000,
                                    .attempts = 3,
                                    .backoff_ms = due_waits,
                                    .jitter = 20,
                                    .concurrency = 1,
                                    .priority = 5,
                                    .period_ms = 60 * 1000,
                                    .is_single = true,
                                    .doc = "Takes up received webhooks that wait to be tried "
                                           "again" };
