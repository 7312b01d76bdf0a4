/* Replays: see webhook_replay.h. */
#include "webhook_replay.h"

#include <stdlib.h>

#include "../../base/crypt.h"
#include "../../base/json.h"
#include "../../core/audit.h"
#include "../../core/event_read.h"
#include "send_inner.h"

/* ---- what is asked ---- */

/* Of deliveries that are over. */
static const char *const over_words[] = { "delivered", "failed", "cancelled", NULL };

#define IN(member) offsetof(struct replay_new, member)
/* clang-format off */
#define RANGE_ROWS \
    { "from", F_TIME, IN(from), F_REQUIRED, 0, 0, NULL, "What happened from then on", NULL }, \
    { "to", F_TIME, IN(to), 0, 0, 0, NULL, \
      "until before then (default now); at most 14 days behind from", NULL }
/* clang-format on */
static const struct field replay_fields[] = {
    RANGE_ROWS,
    { "event_types", F_STRS, IN(event_types), 0, 1, EVENT_TYPES, event_words,
      "Of what the webhook wants, only these types", "[\"ticket.created\"]" },
    { "state", F_STRS, IN(state), 0, 1, 3, over_words,
      "Only events whose delivery ended so; absent: also those that were never sent",
      "[\"failed\"]" },
};
const struct rec rec_replay_new =
    REC("WebhookReplayNew", struct replay_new, replay_fields, "What is to be sent again.");
static const struct field recover_fields[] = { RANGE_ROWS };
const struct rec rec_recover_new =
    REC("WebhookRecoverNew", struct replay_new, recover_fields, "The time to make good.");

/* The payload of the job. */
struct replay {
    struct rec_bits bits;
    struct str webhook_id, event_types, state, after;
    int64_t from, to, is_recover, count;
};
#define AT(member) offsetof(struct replay, member)
static const struct field payload_fields[] = {
    { "webhook_id", F_UUID, AT(webhook_id), F_REQUIRED },
    { "from", F_TIME, AT(from), F_REQUIRED },
    { "to", F_TIME, AT(to), F_REQUIRED },
    { "recover", F_BOOL, AT(is_recover) },
    { "event_types", F_STRS, AT(event_types), F_OMIT_NULL },
    { "state", F_STRS, AT(state), F_OMIT_NULL },
    { "after", F_UUID, AT(after), F_OMIT_NULL }, /* the last event that was looked at */
    { "count", F_INT, AT(count) },               /* deliveries so far */
};
static const struct rec rec_payload =
    REC("WebhookReplayPayload", struct replay, payload_fields, "What a replay is asked to do.");

static struct str payload_text(struct ctx *cx, const struct replay *r)
{
    struct buf b;
    buf_init(&b, &cx->arena, JOB_PAYLOAD_MAX);
    rec_encode(&b, &rec_payload, r);
    BUG_IF(b.over);
    return buf_view(&b);
}

static enum err_code check_range(struct ctx *cx, const struct replay *r)
{
    if (r->to <= r->from)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("to"), "to must be after from");
    if (r->to - r->from > REPLAY_SPAN_MAX_MS)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("from"),
                              "from must be at most 14 days before to");
    return ERR_NONE;
}

enum err_code replay_start(struct ctx *cx, struct db *db, const struct caller *who,
                           const struct replay_ask *ask, struct job *out)
{
    const struct replay_new *in = ask->in;
    struct replay r = { .event_types = in->event_types,
                        .state = in->state,
                        .from = in->from,
                        .to = REC_HAS(in, to) && in->to < clock_ms() ? in->to : clock_ms(),
                        .is_recover = ask->is_recover };
    struct webhook w;
    struct str id;
    enum err_code e = webhook_get(cx, db, who, ask->webhook_id, &w);
    if (!e)
        e = check_range(cx, &r);
    if (!e)
        e = webhook_must_send(cx, &w);
    if (e)
        return e;
    r.webhook_id = w.id;
    r.bits.has = ~UINT64_C(0);
    if (!r.event_types.p)
        r.bits.has &= ~(UINT64_C(1) << (AT(event_types) / 8));
    if (!r.state.p)
        r.bits.has &= ~(UINT64_C(1) << (AT(state) / 8));
    r.bits.has &= ~(UINT64_C(1) << (AT(after) / 8));
    const struct job_new job = {
        .kind = &webhook_replay_kind, .key = w.id, .payload = payload_text(cx, &r), .who = who
    };
    e = job_add(cx, db, who->team_id, &job, &id);
    if (!e)
        e = job_get(cx, db, who, id, out);
    if (e)
        return e;
    return audit_write(
        cx, db, who,
        &(struct audit_entry){ ask->is_recover ? "webhook.recover" : "webhook.replay", "webhook",
                               w.id, STR_NONE, job.payload });
}

/* ---- a page ---- */

struct candidate { /* an event, and how its deliveries to this webhook stand */
    struct rec_bits bits;
    struct str id, type, subject_id, entity, data, previous;
    struct str state;             /* of the first one; absent: there is none */
    int64_t seq, at_ms, is_there; /* some delivery has arrived or is on its way */
};
#define C(member) offsetof(struct candidate, member)
static const struct field candidate_fields[] = {
    { "id", F_STR, C(id) },
    { "type", F_STR, C(type) },
    { "subject_id", F_STR, C(subject_id) },
    { "entity", F_STR, C(entity) },
    { "data", F_STR, C(data) },
    { "previous", F_STR, C(previous) },
    { "state", F_STR, C(state) },
    { "seq", F_INT, C(seq) },
    { "at_ms", F_INT, C(at_ms) },
    { "is_there", F_INT, C(is_there) },
};
static const struct rec rec_candidate =
    REC("ReplayCandidate", struct candidate, candidate_fields, "An event that may be sent again.");

#define SQL_THERE(replay)                                                                          \
    "EXISTS (SELECT 1 FROM webhook_delivery d WHERE d.team_id = $1 AND d.webhook_id = $2 AND "     \
    "d.event_id = event.id AND d.is_replay = " replay " AND d.state IN ('delivered', 'waiting', "  \
    "'sending'))"
/* What is new is on its way by itself. */
static const char SQL_PAGE[] =
    "SELECT id, type, subject_id, entity, CASE WHEN $3 = 1 THEN data END AS data, CASE WHEN "
    "$3 = 1 THEN previous END AS previous, seq, at_ms, (SELECT d.state FROM webhook_delivery d "
    "WHERE d.team_id = $1 AND d.webhook_id = $2 AND d.event_id = event.id AND d.is_replay = 0) AS "
    "state, CASE WHEN " SQL_THERE("0") " OR " SQL_THERE(
        "1") " THEN 1 ELSE 0 END AS is_there FROM "
             "event WHERE team_id = $1 AND id > $4 AND id < $5 AND at_ms >= $6 AND at_ms < $7 AND "
             "webhook_id IS NULL AND is_new = 0 ORDER BY id LIMIT CAST($8 AS INTEGER)";

#define SLACK_MS 60000 /* event_read.h: of ids against times */

struct page_job { /* one unit */
    const struct job *job;
    struct replay now, next; /* next: behind this page */
    int64_t at_ms;           /* of the last event of the page */
    bool has_more;
};

static enum err_code read_page(struct ctx *cx, struct db *db, const struct page_job *p,
                               const struct webhook *w, struct list *out, bool *has_more)
{
    const struct replay *r = &p->now;
    struct arena *a = &cx->arena;
    struct str after = r->after.p ? r->after : uuid7_least(a, r->from - SLACK_MS);
    const struct page_sql q = { .r = &rec_candidate,
                                .sql = SQL_PAGE,
                                .args = ARGS(VT(w->team_id), VT(w->id), VI(w->filter.p != NULL),
                                             VT(after), VT(uuid7_least(a, r->to + SLACK_MS)),
                                             VI(r->from), VI(r->to), VI(REPLAY_PAGE + 1)),
                                .limit = REPLAY_PAGE };
    return page_read(cx, db, &q, out, has_more);
}

/* Both texts were checked when they came in. */
static bool has_word(struct str json, struct str word)
{
    struct str rest = json;
    str_cut(&rest, '"');
    while (rest.p) {
        if (str_eq(str_cut(&rest, '"'), word))
            return true;
        str_cut(&rest, '"');
    }
    return false;
}

static bool is_asked_for(struct ctx *cx, const struct replay *r, const struct webhook *w,
                         const struct candidate *c)
{
    const struct event ev = { .type = c->type };
    if (r->event_types.p && !has_word(r->event_types, c->type))
        return false;
    if (r->state.p && !has_word(r->state, c->state))
        return false;
    if (r->is_recover && c->is_there)
        return false;
    return webhook_wants(cx, w, &ev, c->data.p ? json_read(cx, c->data) : NULL,
                         c->previous.p ? json_read(cx, c->previous) : NULL);
}

static int by_seq(const void *a, const void *b)
{
    int64_t x = ((const struct candidate *)a)->seq, y = ((const struct candidate *)b)->seq;
    return (x > y) - (x < y);
}

static enum err_code send_page(struct ctx *cx, struct db *db, const struct webhook *w,
                               struct page_job *p, struct list *rows)
{
    struct candidate *v = rows->v;
    int64_t now_ms = clock_ms();
    enum err_code e = ERR_NONE;
    if (rows->n) {
        p->next.after = v[rows->n - 1].id;
        REC_SET(&p->next, after);
        p->at_ms = v[rows->n - 1].at_ms;
        qsort(v, rows->n, sizeof *v, by_seq);
    }
    for (size_t i = 0; i < rows->n && !e; i++) {
        if (!is_asked_for(cx, &p->now, w, &v[i]))
            continue;
        const struct event ev = { .team_id = w->team_id,
                                  .id = v[i].id,
                                  .type = v[i].type,
                                  .entity = v[i].entity,
                                  .seq = v[i].seq };
        const struct delivery_new in = { &ev, w, true };
        if (p->next.count == p->now.count)
            e = lane_wake(cx, db, w->team_id, w->id, now_ms);
        if (!e)
            e = delivery_insert(cx, db, &in, now_ms, NULL);
        p->next.count++;
    }
    return e;
}

static enum err_code page_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct page_job *p = arg;
    const struct caller who = { .team_id = p->job->team_id };
    struct webhook w;
    struct list rows;
    p->next = p->now;
    caller_scope(db, &who);
    enum err_code e = webhook_get(cx, db, &who, p->now.webhook_id, &w);
    if (!e && webhook_must_send(cx, &w)) {
        ctx_clear(cx);
        return fail(cx, NOT_CONFIGURED, "The webhook is disabled; enable it and retry this job");
    }
    if (!e)
        e = read_page(cx, db, p, &w, &rows, &p->has_more);
    if (!e)
        e = send_page(cx, db, &w, p, &rows);
    return e ? e : job_resume_at(cx, db, p->job, payload_text(cx, &p->next));
}

/* ---- the job ---- */

static void tell(struct ctx *cx, struct job_run *run, const struct replay *r, int64_t at_ms)
{
    int64_t span = r->to - r->from, done = at_ms - r->from;
    int64_t percent = done <= 0 ? 0 : done >= span ? 99 : done * 100 / span;
    job_progress(run, percent, str_printf(&cx->arena, "%lld sent again", (long long)r->count));
}

/* One page in a ctx of its own; the place behind it is copied into `cx`. */
static enum err_code run_page(struct ctx *cx, struct job_run *run, struct page_job *p)
{
    struct ctx one;
    ctx_init(&one, 4 * CTX_CAP_DEFAULT);
    one.stop = cx->stop;
    one.deadline_us = cx->deadline_us;
    enum err_code e = store_tx(&one, run->store, page_unit, p);
    if (e)
        ctx_fail(cx, e, STR_FMT, STR_ARG(one.err_text.p ? one.err_text : STR("A page failed")));
    p->now.count = p->next.count;
    if (!e && p->next.after.p) {
        p->now.after = str_dup(&cx->arena, p->next.after);
        REC_SET(&p->now, after);
        tell(&one, run, &p->now, p->at_ms);
    }
    ctx_done(&one);
    return e;
}

static enum err_code run_replay(struct ctx *cx, struct job_run *run)
{
    struct page_job p = { .job = run->job, .has_more = true };
    json_t *payload = json_read(cx, run->job->payload);
    enum err_code e =
        payload ? rec_decode(cx, &rec_payload, payload, 0, STR_NONE, &p.now) : cx->err;
    while (!e && p.has_more && ctx_ok(cx))
        e = run_page(cx, run, &p);
    return e ? e : cx->err;
}

static const int64_t waits[] = { 5000, 30000, 300000, 0 };
const struct job_kind webhook_replay_kind = {
    .name = "webhook.replay",
    .run = run_replay,
    .timeout_ms = 3600 * (int64_t)1000,
    .attempts = 5,
    .backoff_ms = waits,
    .jitter = 20,
    .concurrency = 4,
    .per_key = 1,
    .priority = 4,
    .doc = "Sends events of a range of time to a webhook again",
};
