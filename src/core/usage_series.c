/* Usage over a range of time: see usage_series.h. Every question is one statement over usage_rollup
 * or usage_country that groups by bucket, route, key or country; one struct takes the sums, several
 * tables show them. Any thread. */
#include "usage_series.h"

#include <string.h>

#include "../base/clock.h"
#include "listing.h"
#include "usage_inner.h"

#define MINUTE_MS ((int64_t)60 * 1000)
#define DATA_MAX ((size_t)4 << 20)
/* Ranges end within what readers of times take: from 0001-01-01 to 9999-12-31. */
#define FIRST_MS INT64_C(-62135596800000)
#define LAST_MS INT64_C(253402214400000)

/* ---- ranges */

static const struct grain {
    const char *word;
    struct str letter; /* in the rollups */
    int64_t ms, kept_days;
    int64_t default_ms; /* of a range */
} grains[] = {
    { "minute", { "m", 1 }, MINUTE_MS, 7, HOUR_MS },
    { "hour", { "h", 1 }, HOUR_MS, 90, DAY_MS },
    { "day", { "d", 1 }, DAY_MS, 400, 30 * DAY_MS },
    { "month", { "M", 1 }, 0, 0, 365 * DAY_MS }, /* of the calendar; kept for ever */
};
enum { MINUTES, HOURS, DAYS, MONTHS };

struct range {
    const struct grain *grain;
    int64_t from_ms, to_ms;
};

static int64_t round_down(int64_t ms, int64_t unit)
{
    int64_t rest = ms % unit;

    return ms - (rest < 0 ? rest + unit : rest);
}

/* Ends given or by default, not yet rounded. */
static int64_t within(int64_t ms)
{
    return ms < FIRST_MS ? FIRST_MS : ms > LAST_MS ? LAST_MS : ms;
}

static enum err_code range_ends(struct ctx *cx, const struct usage_span *in, int64_t default_ms,
                                struct range *r)
{
    r->to_ms = within(REC_HAS(in, to) ? in->to : clock_ms());
    r->from_ms = within(REC_HAS(in, from) ? in->from : r->to_ms - default_ms);
    if (r->from_ms > r->to_ms)
        return ctx_fail_field(cx, ERR_INVALID_PARAMETER, STR("to"), "to must not be before from");
    return ERR_NONE;
}

/* The begin of the bucket behind the one that begins at ms. */
static int64_t bucket_next(const struct range *r, int64_t ms)
{
    return r->grain->ms ? ms + r->grain->ms : time_month(ms, 1);
}

static void months_round(struct range *r)
{
    int64_t asked_ms = r->to_ms;

    r->from_ms = time_month(r->from_ms, 0);
    r->to_ms = time_month(asked_ms, 0);
    if (r->to_ms < asked_ms || r->to_ms == r->from_ms)
        r->to_ms = time_month(asked_ms, 1);
    if (r->to_ms > LAST_MS)
        r->to_ms = time_month(LAST_MS, 0);
}

static void range_round(struct range *r)
{
    int64_t unit = r->grain->ms;

    if (!unit) {
        months_round(r);
        return;
    }

    r->from_ms = round_down(r->from_ms, unit);
    r->to_ms = round_down(r->to_ms + unit - 1, unit);
    if (r->to_ms == r->from_ms && r->to_ms < LAST_MS)
        r->to_ms += unit;
    else if (r->to_ms == r->from_ms)
        r->from_ms -= unit;
}

static enum err_code series_range(struct ctx *cx, const struct usage_span *in, struct range *r)
{
    r->grain = &grains[HOURS];
    for (size_t i = 0; REC_HAS(in, bucket) && i < sizeof grains / sizeof *grains; i++)
        if (str_eq(in->bucket, str_of(grains[i].word)))
            r->grain = &grains[i];
    enum err_code e = range_ends(cx, in, r->grain->default_ms, r);
    if (e)
        return e;
    range_round(r);
    int64_t unit = r->grain->ms ? r->grain->ms : 28 * DAY_MS;
    if ((r->to_ms - r->from_ms) / unit > USAGE_BUCKETS_MAX)
        return ctx_fail_field(cx, ERR_INVALID_PARAMETER, STR("from"),
                              "from to to must be at most %d buckets: take longer ones or a "
                              "shorter range",
                              USAGE_BUCKETS_MAX);
    if (r->grain->kept_days &&
        r->from_ms < round_down(clock_ms(), r->grain->ms) - r->grain->kept_days * DAY_MS)
        return ctx_fail_field(cx, ERR_INVALID_PARAMETER, STR("from"),
                              "from is too early: buckets of a %s are kept for %lld days",
                              r->grain->word, (long long)r->grain->kept_days);
    return ERR_NONE;
}

/* The finest grain that still has the range and does not read too much of it. */
static enum err_code period_range(struct ctx *cx, const struct usage_span *in, bool has_minutes,
                                  struct range *r)
{
    enum err_code e = range_ends(cx, in, DAY_MS, r);
    int64_t length_ms = r->to_ms - r->from_ms, age_ms = clock_ms() - r->from_ms;

    r->grain = &grains[DAYS];
    if (length_ms <= 31 * DAY_MS && age_ms < grains[HOURS].kept_days * DAY_MS)
        r->grain = &grains[HOURS];
    if (has_minutes && length_ms <= 6 * HOUR_MS && age_ms < grains[MINUTES].kept_days * DAY_MS)
        r->grain = &grains[MINUTES];
    if (!e)
        range_round(r);
    return e;
}

static void put_head(struct usage_series *out, const struct range *r, const struct buf *data)
{
    *out = (struct usage_series){ .from_ms = r->from_ms,
                                  .to_ms = r->to_ms,
                                  .bucket = str_of(r->grain->word),
                                  .data = buf_view(data) };
    out->bits.has = ~UINT64_C(0);
}

/* ---- rows */

#define BUCKET_FIELD(column, i)                                                                    \
    { .name = #column, .type = F_INT, .offset = offsetof(struct usage_group, b[i]) },
#define SUM_FIELD(member)                                                                          \
    {                                                                                              \
        .name = #member, .type = F_INT, .offset = offsetof(struct usage_group, member)             \
    }
/* clang-format off */
static const struct field group_fields[] = {
    { .name = "key", .type = F_STR, .offset = offsetof(struct usage_group, key) },
    { .name = "name", .type = F_STR, .offset = offsetof(struct usage_group, name) },
    SUM_FIELD(bucket_ms), SUM_FIELD(requests), SUM_FIELD(errors), SUM_FIELD(limited), SUM_FIELD(ok),
    SUM_FIELD(redirects), SUM_FIELD(client), SUM_FIELD(server), SUM_FIELD(sum_us),
    HIST_COLUMNS(BUCKET_FIELD)
};
/* clang-format on */
static const struct rec rec_group = REC("UsageGroup", struct usage_group, group_fields, "Sums.");

#define ADD(column, i) ", CAST(SUM(" #column ") AS BIGINT) AS " #column
#define WHEN(test, as) ", CAST(SUM(CASE WHEN " test " THEN n ELSE 0 END) AS BIGINT) AS " as
#define SQL_SUMS                                                                                   \
    "CAST(SUM(n) AS BIGINT) AS requests" WHEN("class >= 4", "errors")                              \
        WHEN("class = 429", "limited") WHEN("class = 2", "ok") WHEN("class = 3", "redirects")      \
            WHEN("class = 4 OR class = 429", "client") WHEN("class = 5", "server") ADD(sum_us, )   \
                HIST_COLUMNS(ADD)

static void set_times(struct usage_group *g)
{
    if (!g->requests)
        return;
    g->average_us = g->sum_us / g->requests;
    g->p95_us = hist_percentile(g->b, 950);
    REC_SET(g, average_us);
    REC_SET(g, p95_us);
}

struct out {
    struct buf b;
    const struct rec *shown;
    const struct range *range;
    int64_t next_ms;          /* of a time series: the bucket that comes next */
    struct usage_group month; /* of a time series by month: what its rows have come to */
};

static void out_init(struct out *o, struct ctx *cx, const struct rec *shown)
{
    *o = (struct out){ .shown = shown };
    buf_init(&o->b, &cx->arena, DATA_MAX);
    buf_char(&o->b, '[');
}

static void put_group(struct out *o, struct usage_group *g)
{
    set_times(g);
    if (o->b.n > 1)
        buf_char(&o->b, ',');
    rec_encode(&o->b, o->shown, g);
}

static enum err_code group_row(struct ctx *cx, void *row, void *arg)
{
    struct usage_group *g = row;

    (void)cx;
    if (!g->key.n) /* an unknown country */
        g->bits.has &= ~(UINT64_C(1) << (offsetof(struct usage_group, key) / 8));
    put_group(arg, g);
    return ERR_NONE;
}

static void out_end(struct out *o)
{
    buf_char(&o->b, ']');
    BUG_IF(o->b.over); /* rows are bounded, and so are their names */
}

/* ---- time series */

/* The empty buckets before `until`. */
static void put_empty(struct out *o, int64_t until_ms)
{
    for (; o->next_ms < until_ms; o->next_ms = bucket_next(o->range, o->next_ms)) {
        struct usage_group g = { .bucket_ms = o->next_ms };

        REC_SET(&g, bucket_ms);
        REC_SET(&g, requests);
        REC_SET(&g, errors);
        REC_SET(&g, limited);
        put_group(o, &g);
    }
}

static enum err_code point_row(struct ctx *cx, void *row, void *arg)
{
    struct usage_group *g = row;
    struct out *o = arg;

    (void)cx;
    put_empty(o, g->bucket_ms);
    put_group(o, g);
    o->next_ms = bucket_next(o->range, o->next_ms);
    return ERR_NONE;
}

static void put_month(struct out *o)
{
    if (!o->month.requests)
        return;
    put_empty(o, o->month.bucket_ms);
    put_group(o, &o->month);
    o->next_ms = bucket_next(o->range, o->next_ms);
    o->month.requests = 0;
}

/* Months come as they are kept and as days that are no month yet, in the order of time. */
static enum err_code month_row(struct ctx *cx, void *row, void *arg)
{
    struct usage_group *g = row;
    struct out *o = arg;
    int64_t month_ms = time_month(g->bucket_ms, 0);

    (void)cx;
    if (!o->month.requests || o->month.bucket_ms != month_ms) {
        put_month(o);
        o->month = *g;
        o->month.bucket_ms = month_ms;
        return ERR_NONE;
    }
    o->month.requests += g->requests;
    o->month.errors += g->errors;
    o->month.limited += g->limited;
    o->month.sum_us += g->sum_us;
    for (int b = 0; b < HIST_BUCKETS; b++)
        o->month.b[b] += g->b[b];
    return ERR_NONE;
}

/* Rollups name the method with the route; a bare pattern means all methods of it. */
static void and_route(struct listing *l, struct str route)
{
    static const char *const methods[] = { "GET",    "POST",    "PUT", "PATCH",
                                           "DELETE", "OPTIONS", "HEAD" };

    if (memchr(route.p, ' ', route.n)) {
        listing_and(l, " AND route = ", VT(route), "");
        return;
    }
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        listing_and(l, i ? ", " : " AND route IN (",
                    VT(str_printf(&l->cx->arena, "%s " STR_FMT, methods[i], STR_ARG(route))), "");
    buf_char(&l->sql, ')');
}

static void and_range(struct listing *l, const struct range *r)
{
    listing_and(l, " AND grain IN (", VT(r->grain->letter), r->grain->ms ? ")" : ", 'd')");
    listing_and(l, " AND bucket_ms >= ", VI(r->from_ms), "");
    listing_and(l, " AND bucket_ms < ", VI(r->to_ms), "");
}

static void series_filter(struct listing *l, const struct usage_span *in)
{
    if (REC_HAS(in, key_id))
        listing_and(l, " AND token_id = ", VT(in->key_id), "");
    else if (!REC_HAS(in, route))
        listing_and(l, " AND token_id = ", VT(USAGE_TEAM_TOKEN), "");
    if (REC_HAS(in, route))
        and_route(l, in->route);
    if (REC_HAS(in, status_class)) {
        int64_t class = in->status_class.p[0] - '0';

        listing_and(l, " AND (class = ", VI(class), "");
        listing_and(l, " OR class = ", VI(class == 4 ? 429 : class), ")");
    }
}

enum err_code usage_timeseries(struct ctx *cx, struct db *db, struct str team_id,
                               const struct usage_span *in, struct usage_series *out)
{
    struct usage_span ask = *in;
    struct listing l;
    struct range r;
    struct out o;
    enum err_code e = series_range(cx, in, &r);

    if (!e && REC_HAS(in, key_id))
        e = path_id(cx, "key_id", &ask.key_id);
    if (e)
        return e;
    listing_init(&l, cx, " WHERE team_id = ", VT(team_id));
    and_range(&l, &r);
    series_filter(&l, &ask);
    struct str sql = str_printf(&cx->arena,
                                "SELECT bucket_ms, " SQL_SUMS " FROM usage_rollup" STR_FMT
                                " GROUP BY bucket_ms ORDER BY bucket_ms",
                                STR_ARG(buf_view(&l.sql)));
    out_init(&o, cx, &rec_usage_point);
    o.range = &r;
    o.next_ms = r.from_ms;
    db_scope(db, team_id, STR(""));
    e = db_each(cx, db, &rec_group, sql.p, (struct args){ l.args, l.n },
                r.grain->ms ? point_row : month_row, &o);
    if (e)
        return e;
    put_month(&o);
    put_empty(&o, r.to_ms);
    out_end(&o);
    put_head(out, &r, &o.b);
    return ERR_NONE;
}

/* ---- routes, keys, countries */

#define SQL_ROUTES                                                                                 \
    "SELECT route AS key, " SQL_SUMS " FROM usage_rollup WHERE team_id = $1 AND grain = $2 "       \
    "AND bucket_ms >= $3 AND bucket_ms < $4 AND token_id <> '*' GROUP BY route "                   \
    "ORDER BY requests DESC, key LIMIT $5"
#define SQL_KEYS                                                                                   \
    "SELECT key, (SELECT t.name FROM integration_tokens t WHERE t.team_id = $1 AND t.id = key) "   \
    "AS name, requests, errors, limited, sum_us" HIST_COLUMNS(                                     \
        PASS) " FROM ("                                                                            \
              "SELECT token_id AS key, " SQL_SUMS                                                  \
              " FROM usage_rollup WHERE team_id = $1 AND grain = $2 "                              \
              "AND bucket_ms >= $3 AND bucket_ms < $4 AND token_id <> '*' GROUP BY token_id "      \
              "ORDER BY requests DESC, key LIMIT $5) AS busiest ORDER BY requests DESC, key"
#define PASS(column, i) ", " #column
#define SQL_COUNTRIES                                                                              \
    "SELECT country AS key, CAST(SUM(n) AS BIGINT) AS requests, "                                  \
    "CAST(SUM(errors) AS BIGINT) AS errors FROM usage_country WHERE team_id = $1 AND grain = $2 "  \
    "AND bucket_ms >= $3 AND bucket_ms < $4 GROUP BY country ORDER BY requests DESC, key "         \
    "LIMIT $5"

struct usage_grouping {
    const char *sql;
    const struct rec *shown;
    struct str team_id;
    struct range range;
    int64_t limit;
};

static enum err_code groups(struct ctx *cx, struct db *db, const struct usage_grouping *g,
                            struct buf *data)
{
    struct out o;

    out_init(&o, cx, g->shown);
    db_scope(db, g->team_id, STR(""));
    enum err_code e = db_each(cx, db, &rec_group, g->sql,
                              ARGS(VT(g->team_id), VT(g->range.grain->letter), VI(g->range.from_ms),
                                   VI(g->range.to_ms), VI(g->limit)),
                              group_row, &o);
    if (e)
        return e;
    out_end(&o);
    *data = o.b;
    return ERR_NONE;
}

enum err_code usage_routes(struct ctx *cx, struct db *db, struct str team_id,
                           const struct usage_span *in, struct usage_series *out)
{
    struct usage_grouping g = { SQL_ROUTES, &rec_usage_route, team_id, .limit = USAGE_ROUTES_MAX };
    struct buf data;
    enum err_code e = period_range(cx, in, true, &g.range);

    if (!e)
        e = groups(cx, db, &g, &data);
    if (!e)
        put_head(out, &g.range, &data);
    return e;
}

enum err_code usage_countries(struct ctx *cx, struct db *db, struct str team_id,
                              const struct usage_span *in, struct usage_series *out)
{
    struct usage_grouping g = { SQL_COUNTRIES, &rec_usage_country, team_id,
                                .limit = USAGE_ROUTES_MAX };
    struct buf data;
    enum err_code e = period_range(cx, in, false, &g.range);

    if (!e)
        e = groups(cx, db, &g, &data);
    if (!e)
        put_head(out, &g.range, &data);
    return e;
}

enum err_code usage_top(struct ctx *cx, struct db *db, struct str team_id, int64_t day_ms,
                        struct str *keys, struct str *routes)
{
    struct range day = { &grains[DAYS], day_ms, day_ms + DAY_MS };
    struct usage_grouping g = { SQL_KEYS, &rec_usage_top_key, team_id, day, USAGE_TOP };
    struct buf data;
    enum err_code e = groups(cx, db, &g, &data);

    if (e)
        return e;
    *keys = buf_view(&data);
    g.sql = SQL_ROUTES;
    g.shown = &rec_usage_route;
    e = groups(cx, db, &g, &data);
    if (!e)
        *routes = buf_view(&data);
    return e;
}
