/* What came of attempts: see send_inner.h.
 *
 * Each row is changed only while its lease is the one that it was claimed under: who was slower than
 * his lease changes nothing, since somebody else has the delivery now. */
#include "send_inner.h"

struct touched { /* a webhook, by the flights of this unit */
    struct send_health health;
    int64_t wake_ms; /* when something of it is due again; INT64_MAX = nothing */
};

struct writing {
    const struct send_results *r;
    struct touched *v;
    size_t n;
};

static bool is_over(const struct flight *f)
{
    return f->verdict.move != SEND_AGAIN && f->verdict.move != SEND_POSTPONED;
}

static bool is_attempt(const struct flight *f)
{
    return f->verdict.move != SEND_POSTPONED && f->verdict.move != SEND_EXPIRED;
}

static struct touched *touched_of(struct writing *w, const struct flight *f)
{
    for (size_t i = w->n; i-- > 0;)
        if (str_eq(w->v[i].health.webhook_id, str_of(f->webhook)))
            return &w->v[i];
    struct touched *t = &w->v[w->n++];
    t->health = (struct send_health){ .team_id = str_of(f->team),
                                      .webhook_id = str_of(f->webhook),
                                      .now_ms = w->r->now_ms,
                                      .failed_ms = INT64_MAX };
    t->wake_ms = INT64_MAX;
    return t;
}

static void note_flight(struct writing *w, const struct flight *f)
{
    struct touched *t = touched_of(w, f);
    struct send_health *h = &t->health;
    int64_t wake_ms = INT64_MAX;
    if (!is_over(f))
        wake_ms = w->r->now_ms + f->verdict.wait_ms;
    else if (f->is_ordered)
        wake_ms = w->r->now_ms; /* for the next one */
    t->wake_ms = wake_ms < t->wake_ms ? wake_ms : t->wake_ms;
    h->is_gone |= f->verdict.move == SEND_GONE;
    h->has_success |= f->verdict.move == SEND_DELIVERED;
    if (!is_attempt(f) || f->verdict.move == SEND_DELIVERED)
        return;
    h->has_failure = true;
    h->failed_ms = f->at_ms < h->failed_ms ? f->at_ms : h->failed_ms;
}

/* ---- rows ---- */

/* Before the delivery is changed: the lease says whether it is ours to write. */
static enum err_code write_attempt(struct ctx *cx, struct db *db, const struct flight *f)
{
    struct str error = f->error[0] ? str_of(f->error) : STR_NONE;
    struct str body = f->body ? (struct str){ f->body, f->body_n } : STR_NONE;
    return db_run(
        cx, db,
        "INSERT INTO webhook_attempt (team_id, delivery_id, n, at_ms, duration_ms, status, "
        "outcome, error, body) SELECT $1, $2, CAST($4 AS BIGINT), CAST($5 AS BIGINT), "
        "CAST($6 AS BIGINT), CAST($7 AS INTEGER), $8, $9, $10 WHERE EXISTS (SELECT 1 FROM "
        "webhook_delivery WHERE team_id = $1 AND id = $2 AND state = 'sending' AND "
        "lease_token = $3)",
        ARGS(VT(str_of(f->team)), VT(str_of(f->id)), VT(str_of(f->lease)), VI(f->attempt),
             VI(f->at_ms), VI(f->duration_ms), VI_OR_NULL(f->status, f->status),
             VT(str_of(egress_class_word(f->class))), VT(error), VT(body)));
}

static const char *state_of(const struct flight *f)
{
    if (!is_over(f))
        return "waiting";
    return f->verdict.move == SEND_DELIVERED ? "delivered" : "failed";
}

static enum err_code write_delivery(struct ctx *cx, struct db *db, const struct flight *f,
                                    int64_t now_ms)
{
    struct str error = f->error[0] ? str_of(f->error) : STR_NONE;
    enum err_code e = db_run(
        cx, db,
        "UPDATE webhook_delivery SET state = $4, attempt = $5, due_ms = $6, status = $7, "
        "error = $8, finished_ms = $9, lease_ms = NULL, lease_token = NULL WHERE "
        "team_id = $1 AND id = $2 AND state = 'sending' AND lease_token = $3",
        ARGS(VT(str_of(f->team)), VT(str_of(f->id)), VT(str_of(f->lease)), VT(str_of(state_of(f))),
             VI(is_attempt(f) ? f->attempt : f->attempt - 1), VI(now_ms + f->verdict.wait_ms),
             VI_OR_NULL(f->status, f->status), VT(error), VI_OR_NULL(is_over(f), now_ms)));
    if (e || !is_over(f) || !f->is_ordered)
        return e;
    return delivery_next(cx, db, str_of(f->team), str_of(f->id), now_ms);
}

enum err_code send_results(struct ctx *cx, struct db *db, struct send_results *r)
{
    struct writing w = { .r = r };
    const struct flight *f = r->first;
    enum err_code e = ERR_NONE;
    w.v = ARENA_ARRAY(&cx->arena, struct touched, r->n);
    r->notices = ARENA_ARRAY(&cx->arena, struct send_notice, r->n);
    r->n_notices = 0;
    for (size_t i = 0; i < r->n; i++, f = f->next)
        note_flight(&w, f);
    db_scope_system(db);
    for (size_t i = 0; !e && i < w.n; i++)
        if (w.v[i].wake_ms < INT64_MAX)
            e = lane_put(cx, db, w.v[i].health.team_id, w.v[i].health.webhook_id, w.v[i].wake_ms);
    f = r->first;
    for (size_t i = 0; !e && i < r->n; i++, f = f->next) {
        if (is_attempt(f))
            e = write_attempt(cx, db, f);
        if (!e)
            e = write_delivery(cx, db, f, r->now_ms);
    }
    for (size_t i = 0; !e && i < w.n; i++) {
        e = send_health(cx, db, &w.v[i].health, &r->notices[r->n_notices]);
        r->n_notices += !e && r->notices[r->n_notices].percent;
    }
    return e;
}
