/* What the dashboard and the token pages ask: answered from usage_rollup alone, a handful of rows
 * by primary key.
 *
 * The dashboard reads the team's own sums (token_id '*'); a token's figures come from its rows of
 * today's 'd', this hour's 'h' and the 't' that lives for ever. Percentiles are those of today's
 * merged histograms. Any thread. */
#include <string.h>

#include "../base/clock.h"
#include "usage_inner.h"
#include "usage_series.h"

/* ---- what is printed */

#define STAT(member, text)                                                                         \
    {                                                                                              \
        .name = #member, .type = F_INT, .offset = offsetof(struct usage_stats, member),            \
        .doc = text                                                                                \
    }
#define STATS_BOTH                                                                                 \
    STAT(requests_this_hour,                                                                       \
         "Requests in the current hour (UTC), refused ones over the limit not counted"),           \
        STAT(requests_today, "Requests since midnight UTC"),                                       \
        STAT(errors_today, "Requests since midnight UTC that were answered with 4xx or 5xx"),      \
        STAT(rate_limited_today, "Requests since midnight UTC that were refused with 429"),        \
        STAT(requests_total, "All requests on record"),                                            \
        STAT(errors_total, "All requests on record that were answered with 4xx or 5xx"),           \
        STAT(average_us, "Mean response time today, microseconds"),                                \
        STAT(p50_us, "Median response time today, microseconds"),                                  \
        STAT(p95_us, "95th percentile of the response time today, microseconds"),                  \
        STAT(p99_us, "99th percentile of the response time today, microseconds")

static const struct field dashboard_fields[] = {
    STAT(active_tokens, "Tokens that are active and not expired"),
    STATS_BOTH,
};
const struct rec rec_usage_dashboard =
    REC("UsageDashboard", struct usage_stats, dashboard_fields, "Usage of a whole team.");

static const struct field token_fields[] = {
    STATS_BOTH,
    STAT(rate_limit, "Requests allowed per hour"),
    STAT(remaining_this_hour, "Requests left in the current hour"),
    { .name = "last_used_at",
      .type = F_TIME,
      .flags = F_NULLABLE,
      .offset = offsetof(struct usage_stats, last_used_ms),
      .doc = "When the token was last used" },
};
const struct rec rec_usage_token =
    REC("UsageToken", struct usage_stats, token_fields, "Usage of one token.");

#define SUCCESS_RATE                                                                               \
    {                                                                                              \
        .name = "success_rate_bp", .type = F_INT, .flags = F_NULLABLE,                             \
        .offset = offsetof(struct usage_stats, success_rate_bp), .max = 10000,                     \
        .doc = "Share of today's requests that were answered with 2xx or 3xx, in basis points: "   \
               "9950 = 99.50 %; null when there were none"                                         \
    }
static const struct field overview_fields[] = {
    { .name = "active_keys",
      .type = F_INT,
      .offset = offsetof(struct usage_stats, active_tokens),
      .doc = "API keys that are active and not expired" },
    STATS_BOTH,
    SUCCESS_RATE,
    { .name = "top_keys",
      .type = F_RECS,
      .offset = offsetof(struct usage_stats, top_keys),
      .of = &rec_usage_top_key,
      .doc = "The busiest API keys since midnight UTC, at most 10" },
    { .name = "top_routes",
      .type = F_RECS,
      .offset = offsetof(struct usage_stats, top_routes),
      .of = &rec_usage_route,
      .doc = "The busiest routes since midnight UTC, at most 10" },
};
const struct rec rec_usage_overview =
    REC("UsageOverview", struct usage_stats, overview_fields, "Usage of the whole team.");

static const struct field key_fields[] = {
    { .name = "key_id",
      .type = F_UUID,
      .offset = offsetof(struct usage_stats, key_id),
      .doc = "The API key" },
    STATS_BOTH,
    SUCCESS_RATE,
    STAT(rate_limit, "Requests allowed per hour"),
    STAT(remaining_this_hour, "Requests left in the current hour"),
    { .name = "last_used_at",
      .type = F_TIME,
      .flags = F_NULLABLE,
      .offset = offsetof(struct usage_stats, last_used_ms),
      .doc = "When the API key was last used" },
};
const struct rec rec_usage_key =
    REC("ApiKeyStats", struct usage_stats, key_fields, "Usage of one API key.");

/* ---- sums over rollups, per class */

struct sums {
    struct rec_bits bits;
    int64_t class, n, sum_us;
    int64_t b[HIST_BUCKETS];
};
#define BUCKET_FIELD(bucket, i)                                                                    \
    { .name = #bucket, .type = F_INT, .offset = offsetof(struct sums, b[i]) },
static const struct field sums_fields[] = {
    { .name = "class", .type = F_INT, .offset = offsetof(struct sums, class) },
    { .name = "n", .type = F_INT, .offset = offsetof(struct sums, n) },
    { .name = "sum_us", .type = F_INT, .offset = offsetof(struct sums, sum_us) },
    HIST_COLUMNS(BUCKET_FIELD)
};
static const struct rec rec_sums = REC("UsageSums", struct sums, sums_fields, "Sums of rollups.");

#define SUM(bucket, i) ", CAST(SUM(" #bucket ") AS BIGINT) AS " #bucket
#define SQL_KEY                                                                                    \
    " FROM usage_rollup WHERE team_id = $1 AND grain = $2 AND bucket_ms = $3 AND token_id = $4 GROUP BY class"
#define SQL_COUNTS "SELECT class, CAST(SUM(n) AS BIGINT) AS n" SQL_KEY
#define SQL_HISTOGRAMS                                                                               \
    "SELECT class, CAST(SUM(n) AS BIGINT) AS n, CAST(SUM(sum_us) AS BIGINT) AS sum_us" HIST_COLUMNS( \
        SUM) SQL_KEY
#define SQL_ACTIVE                                                                                 \
    "SELECT COUNT(*) AS n FROM integration_tokens WHERE team_id = $1 AND status = 'active' "       \
    "AND (expires_ms IS NULL OR expires_ms > $2)"
#define SQL_TOKEN                                                                                  \
    "SELECT rate_limit, last_used_ms AS last_used_at FROM integration_tokens "                     \
    "WHERE team_id = $1 AND id = $2 AND status <> 'deleted'"

static bool is_error(const struct sums *s)
{
    return s->class >= 4; /* 429 too */
}

static enum err_code add_hour(struct ctx *cx, void *row, void *arg)
{
    const struct sums *s = row;
    struct usage_stats *out = arg;

    (void)cx;
    if (s->class != 429)
        out->requests_this_hour += s->n;
    return ERR_NONE;
}

static enum err_code add_total(struct ctx *cx, void *row, void *arg)
{
    const struct sums *s = row;
    struct usage_stats *out = arg;

    (void)cx;
    out->requests_total += s->n;
    out->errors_total += is_error(s) ? s->n : 0;
    return ERR_NONE;
}

struct today {
    struct usage_stats *out;
    int64_t sum_us;
    int64_t b[HIST_BUCKETS];
};

static enum err_code add_today(struct ctx *cx, void *row, void *arg)
{
    const struct sums *s = row;
    struct today *t = arg;

    (void)cx;
    t->out->requests_today += s->n;
    t->out->errors_today += is_error(s) ? s->n : 0;
    t->out->rate_limited_today += s->class == 429 ? s->n : 0;
    t->sum_us += s->sum_us;
    for (int i = 0; i < HIST_BUCKETS; i++)
        t->b[i] += s->b[i];
    return ERR_NONE;
}

static enum err_code read_rollups(struct ctx *cx, struct db *db, const struct args *who,
                                  int64_t now_ms, struct usage_stats *out)
{
    struct val team = who->v[0], token = who->v[1];
    struct today t = { .out = out };
    enum err_code e =
        db_each(cx, db, &rec_sums, SQL_COUNTS,
                ARGS(team, VT(STR("h")), VI(now_ms - now_ms % HOUR_MS), token), add_hour, out);

    if (!e)
        e = db_each(cx, db, &rec_sums, SQL_COUNTS, ARGS(team, VT(STR("t")), VI(0), token),
                    add_total, out);
    if (!e)
        e = db_each(cx, db, &rec_sums, SQL_HISTOGRAMS,
                    ARGS(team, VT(STR("d")), VI(now_ms - now_ms % DAY_MS), token), add_today, &t);
    if (e)
        return e;
    out->average_us = out->requests_today ? t.sum_us / out->requests_today : 0;
    out->p50_us = hist_percentile(t.b, 500);
    out->p95_us = hist_percentile(t.b, 950);
    out->p99_us = hist_percentile(t.b, 990);
    return ERR_NONE;
}

#define UNSET(s, member)                                                                           \
    ((s)->bits.has &= ~(UINT64_C(1) << (offsetof(struct usage_stats, member) / 8)))

static void all_present(struct usage_stats *s)
{
    s->bits.has = ~UINT64_C(0);
    if (s->requests_today)
        s->success_rate_bp = (s->requests_today - s->errors_today) * 10000 / s->requests_today;
    else
        UNSET(s, success_rate_bp);
}

enum err_code usage_dashboard(struct ctx *cx, struct db *db, struct str team_id, int64_t now_ms,
                              struct usage_stats *out)
{
    struct usage_stats s = { 0 };
    struct rec_num active;
    enum err_code e;

    db_scope(db, team_id, STR(""));
    e = db_one(cx, db, &rec_num, SQL_ACTIVE, ARGS(VT(team_id), VI(now_ms)), &active);
    if (!e)
        e = read_rollups(cx, db, &ARGS(VT(team_id), VT(USAGE_TEAM_TOKEN)), now_ms, &s);
    if (e)
        return e;
    s.active_tokens = active.n;
    all_present(&s);
    *out = s;
    return ERR_NONE;
}

enum err_code usage_overview(struct ctx *cx, struct db *db, struct str team_id, int64_t now_ms,
                             struct usage_stats *out)
{
    struct usage_stats s;
    enum err_code e = usage_dashboard(cx, db, team_id, now_ms, &s);

    if (!e)
        e = usage_top(cx, db, team_id, now_ms - now_ms % DAY_MS, &s.top_keys, &s.top_routes);
    if (!e)
        *out = s;
    return e;
}

enum err_code usage_token_stats(struct ctx *cx, struct db *db, struct str team_id,
                                struct str token_id, int64_t now_ms, struct usage_stats *out)
{
    struct usage_stats s;
    bool was_used;
    enum err_code e;

    db_scope(db, team_id, STR(""));
    e = db_one(cx, db, &rec_usage_token, SQL_TOKEN, ARGS(VT(team_id), VT(token_id)), &s);
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "There is no such token");
    was_used = !e && REC_HAS(&s, last_used_ms);
    if (!e)
        e = read_rollups(cx, db, &ARGS(VT(team_id), VT(token_id)), now_ms, &s);
    if (e)
        return e;
    s.remaining_this_hour =
        s.rate_limit > s.requests_this_hour ? s.rate_limit - s.requests_this_hour : 0;
    s.key_id = token_id;
    all_present(&s);
    if (!was_used)
        UNSET(&s, last_used_ms);
    *out = s;
    return ERR_NONE;
}

/* ---- what the limits start from */

struct limit_counts {
    struct rec_bits bits;
    int64_t running, before;
    struct str token_id;
};
#define CO(member) offsetof(struct limit_counts, member)
static const struct field counts_fields[] = {
    { .name = "n_running", .type = F_INT, .offset = CO(running) },
    { .name = "n_before", .type = F_INT, .offset = CO(before) },
    { .name = "token_id", .type = F_STR, .offset = CO(token_id) },
};
static const struct rec rec_counts =
    REC("LimitCounts", struct limit_counts, counts_fields, "Requests of a token.");

/* The rollups, and the rows above the marks of streams that nobody has folded yet (after a kill
 * those of the dead server). Team by team and stream by stream, so that the indexes find the time;
 * CROSS JOIN makes SQLite keep that order. */
#define SQL_COUNTS_OF_ALL                                                                          \
    "SELECT c.token_id, CAST(SUM(CASE WHEN c.at_ms >= $3 THEN c.n ELSE 0 END) AS BIGINT) AS "      \
    "n_running, CAST(SUM(CASE WHEN c.at_ms < $3 THEN c.n ELSE 0 END) AS BIGINT) AS n_before "      \
    "FROM (SELECT r.token_id, r.n, r.bucket_ms AS at_ms FROM team t "                              \
    "CROSS JOIN usage_rollup r WHERE r.team_id = t.id AND r.grain = $1 AND r.bucket_ms >= $2 "     \
    "AND r.bucket_ms < $4 AND r.class <> 429 UNION ALL "                                           \
    "SELECT u.token_id, 1, u.created_ms FROM usage_stream s "                                      \
    "CROSS JOIN integration_token_usage u WHERE u.id > s.stream * 1099511627776 + s.mark "         \
    "AND u.id < (s.stream + 1) * 1099511627776 AND u.created_ms >= $2 "                            \
    "AND u.created_ms < $4 AND u.status_code <> 429) c "                                           \
    "WHERE c.token_id <> '' AND c.token_id <> '*' GROUP BY c.token_id"

struct counting {
    const struct usage_cells *span;
    usage_count_fn *each;
    void *arg;
};

static enum err_code counts_row(struct ctx *cx, void *row, void *arg)
{
    const struct limit_counts *c = row;
    const struct counting *k = arg;
    (void)cx;
    k->each(k->arg, c->token_id, c->running, c->before);
    return ERR_NONE;
}

/* The finest grain that has a bucket's edge where the span begins; minutes are kept for a week. */
static const char *grain_of(int64_t window_ms)
{
    if (window_ms % DAY_MS == 0)
        return "d";
    return window_ms % HOUR_MS == 0 || window_ms > 2 * DAY_MS ? "h" : "m";
}

static enum err_code read_counts(struct ctx *cx, struct db *db, void *arg)
{
    const struct counting *k = arg;
    const struct usage_cells *s = k->span;
    db_scope_system(db);
    return db_each(cx, db, &rec_counts, SQL_COUNTS_OF_ALL,
                   ARGS(VT(str_of(grain_of(s->window_ms))), VI(s->start_ms - s->window_ms),
                        VI(s->start_ms), VI(s->start_ms + s->window_ms)),
                   counts_row, arg);
}

enum err_code usage_window_counts(struct ctx *cx, struct usage *u, const struct usage_cells *span,
                                  usage_count_fn *each, void *arg)
{
    struct counting k = { span, each, arg };
    return store_read(cx, u->store, read_counts, &k);
}
