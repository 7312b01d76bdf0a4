/* Replays of webhooks: see webhook_log.h.
 *
 * To replay is to wait again: the same row, the same id and key, counted in replays. One is moved in
 * the unit of the request; many by a job, in steps, from the oldest to the newest that there was when
 * it was asked for. A job that runs twice moves what it finds over again, which is harmless. */
#include "../../base/clock.h"
#include "../../base/json.h"
#include "../../core/audit.h"
#include "../integration.h"
#include "process.h"
#include "retention.h"
#include "webhook_log.h"

#define STEP 200
#define STEPS_MAX 100000

static const char *const replayed[] = { "processed", "ignored", "failed", NULL };

#define IN(member) offsetof(struct replay_in, member)
static const struct field in_fields[] = {
    { "from", F_TIME, IN(from), 0, 0, 0, NULL, "Received at or after (default: all)", NULL },
    { "to", F_TIME, IN(to), 0, 0, 0, NULL, "Received before (default: now)", NULL },
    { "event_types", F_STRS, IN(event_types), 0, 0, INTEGRATION_TYPES_MAX, NULL,
      "Only these types, or their beginnings with .* behind", "[\"issues\"]" },
    { "states", F_STRS, IN(states), 0, 1, 3, replayed, "Only these states (default: all)",
      "[\"failed\"]" },
};
const struct rec rec_replay_in =
    REC("IntegrationReplay", struct replay_in, in_fields, "Which webhooks to process again.");

#define SQL_AGAIN                                                                                  \
    "UPDATE webhook_log SET state = 'received', attempts = 0, due_ms = 0, error = NULL, "          \
    "processed_ms = NULL, replays = replays + 1 WHERE team_id = $1 AND id = $2 AND "               \
    "state <> 'received'"

/* The job as whoever may replay sees it: one of the server's may wait already. */
static enum err_code answer(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            struct job *out)
{
    struct caller manager = *who;
    manager.scopes |= SCOPE(JOBS_MANAGE);
    return job_get(cx, db, &manager, id, out);
}

/* ---- one ---- */

static enum err_code must_be_live(struct ctx *cx, struct db *db, const struct caller *who,
                                  struct str integration_id)
{
    struct rec_num n;
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT 1 AS n FROM integration WHERE team_id = $1 AND id = $2 AND "
                             "deleted_ms IS NULL",
                             ARGS(VT(who->team_id), VT(integration_id)), &n);
    return e == ERR_NOT_FOUND ? fail(cx, CONFLICT, "The integration has been deleted") : e;
}

enum err_code webhook_log_replay(struct ctx *cx, struct db *db, const struct caller *who,
                                 struct str id, struct job *out)
{
    struct rec_text of;
    struct rec_num moved;
    struct str job_id;
    enum err_code e = path_id(cx, "webhook_log_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_text,
               "SELECT integration_id AS s FROM webhook_log WHERE team_id = $1 AND id = $2",
               ARGS(VT(who->team_id), VT(id)), &of);
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "Webhook not found; it may be older than the log");
    if (!e)
        e = must_be_live(cx, db, who, of.s);
    if (!e)
        e = db_one(cx, db, &rec_num, SQL_AGAIN " RETURNING 1 AS n", ARGS(VT(who->team_id), VT(id)),
                   &moved);
    if (e == ERR_NOT_FOUND)
        return fail(cx, CONFLICT, "The webhook waits to be processed already");
    if (!e)
        e = job_add(cx, db, who->team_id,
                    &(struct job_new){ .kind = &hook_process, .key = of.s, .who = who }, &job_id);
    if (!e)
        e = audit_write(
            cx, db, who,
            &(struct audit_entry){ "webhook_log.replay", "webhook_log", id, STR_NONE, STR_NONE });
    return e ? e : answer(cx, db, who, job_id, out);
}

/* ---- many ---- */

static struct str payload_of(struct ctx *cx, const struct replay_in *in)
{
    struct buf b;
    int64_t now = clock_ms();
    buf_init(&b, &cx->arena, JOB_PAYLOAD_MAX);
    buf_printf(&b, "{\"from\":%lld,\"to\":%lld,\"event_types\":" STR_FMT ",\"states\":" STR_FMT "}",
               (long long)(REC_HAS(in, from) ? in->from : 0),
               (long long)(REC_HAS(in, to) && in->to < now ? in->to : now + 1),
               STR_ARG(in->event_types.p ? in->event_types : STR("[]")),
               STR_ARG(in->states.p ? in->states : STR("[]")));
    return b.over ? STR_NONE : buf_view(&b);
}

enum err_code webhook_log_replay_many(struct ctx *cx, struct db *db, const struct caller *who,
                                      struct str integration_id, const struct replay_in *in,
                                      struct job *out)
{
    struct integration i;
    struct str payload = payload_of(cx, in), job_id;
    struct rec_num n;
    if (!payload.p)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("event_types"),
                              "event_types is longer than %d bytes", JOB_PAYLOAD_MAX);
    enum err_code e = integration_get(cx, db, who, STR(""), integration_id, &i);
    if (e)
        return e;
    e = db_one(cx, db, &rec_num,
               "SELECT 1 AS n FROM job WHERE team_id = $1 AND kind = $2 AND key = $3 AND state = "
               "'ready'",
               ARGS(VT(who->team_id), VT(str_of(hook_replay.name)), VT(i.id)), &n);
    if (!e)
        return fail(cx, CONFLICT, "A replay of this integration waits already");
    if (e != ERR_NOT_FOUND)
        return e;
    e = job_add(
        cx, db, who->team_id,
        &(struct job_new){ .kind = &hook_replay, .key = i.id, .payload = payload, .who = who },
        &job_id);
    if (!e)
        e = audit_write(
            cx, db, who,
            &(struct audit_entry){ "integration.replay", "integration", i.id, STR_NONE, payload });
    return e ? e : answer(cx, db, who, job_id, out);
}

struct found {
    struct rec_bits bits;
    struct str id, event_type, state;
};
#define AT(member) offsetof(struct found, member)
static const struct field found_fields[] = {
    { "id", F_STR, AT(id), 0, 0, 0, NULL, NULL, NULL },
    { "event_type", F_STR, AT(event_type), 0, 0, 0, NULL, NULL, NULL },
    { "state", F_STR, AT(state), 0, 0, 0, NULL, NULL, NULL },
};
static const struct rec rec_found = REC("HookFound", struct found, found_fields, "An old event.");

struct walk {
    const struct job *job;
    int64_t from, to;
    struct str event_types;
    json_t *states;
    struct str after;
    struct str next; /* out, as what follows */
    int64_t n_seen, n_moved;
};

static bool fits(struct ctx *cx, const struct walk *w, const struct found *f)
{
    bool is_asked = json_array_size(w->states) == 0;
    size_t i;
    json_t *one;
    json_array_foreach(w->states, i, one)
        is_asked |= str_eq(f->state, str_of(json_string_value(one)));
    return is_asked && event_type_wanted(cx, w->event_types, f->event_type);
}

static enum err_code step_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct walk *w = arg;
    struct list rows;
    db_scope(db, w->job->team_id, STR(""));
    enum err_code e = db_list(
        cx, db, &rec_found,
        "SELECT id, event_type, state FROM webhook_log WHERE team_id = $1 AND integration_id = $2 "
        "AND id > $3 AND received_ms >= $4 AND received_ms < $5 AND state <> 'received' ORDER BY "
        "id LIMIT $6",
        ARGS(VT(w->job->team_id), VT(w->job->key), VT(w->after), VI(w->from), VI(w->to), VI(STEP)),
        &rows);
    w->n_seen = e ? 0 : (int64_t)rows.n;
    w->n_moved = 0;
    for (size_t i = 0; !e && i < rows.n; i++) {
        const struct found *f = (const struct found *)rows.v + i;
        if (!fits(cx, w, f))
            continue;
        e = db_run(cx, db, SQL_AGAIN, ARGS(VT(w->job->team_id), VT(f->id)));
        w->n_moved++;
    }
    if (!e && w->n_moved)
        e = job_add(cx, db, w->job->team_id,
                    &(struct job_new){ .kind = &hook_process, .key = w->job->key }, NULL);
    if (!e && rows.n)
        w->next = ((const struct found *)rows.v)[rows.n - 1].id;
    return e;
}

static enum err_code step(struct ctx *cx, struct job_run *r, struct walk *w)
{
    struct ctx own;
    int64_t moved = w->n_moved;
    ctx_init(&own, CTX_CAP_DEFAULT);
    own.deadline_us = cx->deadline_us;
    own.stop = cx->stop;
    enum err_code e = store_tx(&own, r->store, step_unit, w);
    if (!e && w->n_seen)
        w->after = str_dup(&cx->arena, w->next);
    w->n_moved += moved;
    if (e)
        ctx_fail_plain(cx, e);
    ctx_done(&own);
    return e;
}

static enum err_code replay(struct ctx *cx, struct job_run *r)
{
    json_t *ask = json_read(cx, r->job->payload);
    if (!ask)
        return cx->err;
    struct walk w = { .job = r->job,
                      .from = json_integer_value(json_object_get(ask, "from")),
                      .to = json_integer_value(json_object_get(ask, "to")),
                      .event_types = json_text(cx, json_object_get(ask, "event_types")),
                      .states = json_object_get(ask, "states"),
                      .n_seen = STEP };
    w.after = hook_id_of_time(&cx->arena, w.from);
    for (int i = 0; i < STEPS_MAX && w.n_seen == STEP; i++) {
        enum err_code e = step(cx, r, &w);
        if (e)
            return e;
        if (!ctx_ok(cx))
            return cx->err;
        job_progress(r, 0, str_printf(&cx->arena, "%lld replayed", (long long)w.n_moved));
    }
    return ERR_NONE;
}

static const int64_t replay_waits[] = { 5000, 30000, 120000, 0 };
const struct job_kind hook_replay = { .name = "hook.replay",
                                      .run = replay,
                                      .timeout_ms = 30 * 60 * 1000,
                                      .attempts = 5,
                                      .backoff_ms = replay_waits,
                                      .jitter = 20,
                                      .per_key = 1,
                                      .priority = 4,
                                      .is_single = true,
                                      .doc = "Lets webhooks that an integration received be "
                                             "processed again" };
