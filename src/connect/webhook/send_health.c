/* Webhooks at which nothing arrives: see send_inner.h.
 *
 * failing_ms is set by the first failed attempt after a success and cleared by a success. When half,
 * 70 and 90 percent of SEND_FAILING_MS have passed since then, people are told, and when all of it
 * has, the webhook is disabled; each of it by the next attempt that fails, so that a webhook with
 * nothing to send is left alone. The row is written when something changes: successes that follow
 * each other once a minute. */
#include "../../base/json.h"
#include "send_inner.h"

#define SUCCESS_EVERY_MS ((int64_t)60 * 1000)
#define PEOPLE_MAX 50 /* who are told of one webhook */

static const int64_t notices[] = { 90, 70, 50 }; /* percent */

static enum err_code note_success(struct ctx *cx, struct db *db, const struct send_health *h)
{
    return db_run(
        cx, db,
        "UPDATE webhook SET failing_ms = NULL, notice = 0, success_ms = $3 WHERE "
        "team_id = $1 AND id = $2 AND (failing_ms IS NOT NULL OR success_ms IS NULL OR "
        "success_ms < $4)",
        ARGS(VT(h->team_id), VT(h->webhook_id), VI(h->now_ms), VI(h->now_ms - SUCCESS_EVERY_MS)));
}

/* Owners and admins of the team. */
static enum err_code people(struct ctx *cx, struct db *db, const struct send_health *h,
                            struct list *out)
{
    return db_list(cx, db, &rec_text,
                   "SELECT u.email AS s FROM team_member m JOIN app_user u ON u.id = m.user_id "
                   "WHERE m.team_id = $1 AND m.role IN ('owner', 'admin') AND u.status = 'active' "
                   "ORDER BY u.id LIMIT $2",
                   ARGS(VT(h->team_id), VI(PEOPLE_MAX)), out);
}

static enum err_code disable(struct ctx *cx, struct db *db, const struct send_health *h)
{
    const struct caller server = { .team_id = h->team_id };
    enum err_code e =
        webhook_disable(cx, db, &server, h->webhook_id, h->is_gone ? "gone" : "failing");
    if (e == ERR_NOT_FOUND) {
        ctx_clear(cx); /* deleted meanwhile */
        return ERR_NONE;
    }
    return e ? e : lane_put(cx, db, h->team_id, h->webhook_id, h->now_ms);
}

static enum err_code tell_failing(struct ctx *cx, struct db *db, const struct webhook *w,
                                  int64_t percent)
{
    const struct caller server = { .team_id = w->team_id };
    struct buf b;
    buf_init(&b, &cx->arena, 8192);
    buf_lit(&b, "{\"id\":");
    json_write_str(&b, w->id);
    buf_lit(&b, ",\"url\":");
    json_write_str(&b, w->url);
    buf_lit(&b, ",\"failing_since\":\"");
    time_print_ms(&b, w->failing_ms);
    buf_printf(&b, "\",\"percent\":%lld,\"disabled_at\":\"", (long long)percent);
    time_print_ms(&b, w->failing_ms + SEND_FAILING_MS);
    buf_lit(&b, "\"}");
    enum err_code e =
        db_run(cx, db, "UPDATE webhook SET notice = $3 WHERE team_id = $1 AND id = $2",
               ARGS(VT(w->team_id), VT(w->id), VI(percent)));
    return e ? e
             : event_emit(cx, db, &server,
                          &(struct event_new){ .type = EVENT_WEBHOOK_FAILING,
                                               .subject_id = w->id,
                                               .data = buf_view(&b),
                                               .is_servers = true });
}

/* The percent that is to be told now; 0 = none. */
static int64_t notice_of(const struct webhook *w, int64_t now_ms)
{
    int64_t passed = (now_ms - w->failing_ms) * 100 / SEND_FAILING_MS;
    for (size_t i = 0; i < sizeof notices / sizeof *notices; i++)
        if (passed >= notices[i])
            return w->notice < notices[i] ? notices[i] : 0;
    return 0;
}

/* Its row with what this unit has seen; NOT_FOUND (not recorded): it is disabled or deleted. */
static enum err_code note_failure(struct ctx *cx, struct db *db, const struct send_health *h,
                                  struct webhook *w)
{
    enum err_code e = db_run(cx, db,
                             "UPDATE webhook SET failing_ms = $3 WHERE team_id = $1 AND id = $2 "
                             "AND failing_ms IS NULL",
                             ARGS(VT(h->team_id), VT(h->webhook_id), VI(h->failed_ms)));
    return e ? e
             : db_one(cx, db, &rec_webhook_row,
                      "SELECT " WEBHOOK_COLUMNS " FROM webhook WHERE team_id = $1 AND id = $2 AND "
                      "deleted_ms IS NULL AND state = 'enabled'",
                      ARGS(VT(h->team_id), VT(h->webhook_id)), w);
}

enum err_code send_health(struct ctx *cx, struct db *db, const struct send_health *h,
                          struct send_notice *out)
{
    struct webhook w;
    *out = (struct send_notice){ .is_gone = h->is_gone };
    if (h->has_success && !h->is_gone)
        return note_success(cx, db, h);
    if (!h->has_failure)
        return ERR_NONE;
    enum err_code e = note_failure(cx, db, h, &w);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    if (h->is_gone || h->now_ms - w.failing_ms >= SEND_FAILING_MS)
        out->percent = 100;
    else
        out->percent = notice_of(&w, h->now_ms);
    if (!out->percent)
        return ERR_NONE;
    e = out->percent == 100 ? disable(cx, db, h) : tell_failing(cx, db, &w, out->percent);
    out->team_id = w.team_id;
    out->webhook_id = w.id;
    out->url = w.url;
    return e ? e : people(cx, db, h, &out->to);
}
