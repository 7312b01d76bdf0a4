/* /v1/usage and /v1/api-keys/{api_key_id}/stats: dashboard, statistics of a key, time series,
 * routes, countries, request log and its export.
 *
 * What may look at many rows runs on the slow pool, so that no event thread waits for it. */
#include "../core/usage_export.h"
#include "../core/usage_series.h"
#include "page.h"
#include "route.h"
#include "settings.h"

#include "../base/clock.h"

#define TAG "Usage"

struct ask { /* a read of the slow pool */
    const struct req *rq;
    enum err_code (*fn)(struct ctx *cx, struct db *db, struct str team_id,
                        const struct usage_span *in, struct usage_series *out);
    struct usage_series series;
    struct usage_stats stats;
};

/* ---- figures ---- */

static enum err_code dashboard_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct ask *a = arg;
    caller_scope(db, &a->rq->caller);
    return usage_overview(cx, db, a->rq->caller.team_id, clock_ms(), &a->stats);
}

static enum err_code dashboard(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct ask a = { .rq = rq };
    (void)db;
    enum err_code e = store_read(cx, rq->app->store, dashboard_unit, &a);
    if (!e)
        rec_encode(&rp->body, &rec_usage_overview, &a.stats);
    return e;
}

static enum err_code key_stats(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct usage_stats s;
    struct str id = rq->params[0];
    enum err_code e = path_id(cx, "api_key_id", &id);
    if (!e)
        e = usage_token_stats(cx, db, rq->caller.team_id, id, clock_ms(), &s);
    if (!e)
        rec_encode(&rp->body, &rec_usage_key, &s);
    return e;
}

static enum err_code series_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct ask *a = arg;
    caller_scope(db, &a->rq->caller);
    return a->fn(cx, db, a->rq->caller.team_id, a->rq->query, &a->series);
}

static enum err_code series(struct ctx *cx, struct ask *a, struct reply *rp)
{
    enum err_code e = store_read(cx, a->rq->app->store, series_unit, a);
    a->series.is_configured = a->rq->app->geo != NULL;
    if (!e)
        rec_encode(&rp->body, a->rq->route->reply, &a->series);
    return e;
}

static enum err_code timeseries(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)db;
    return series(cx, &(struct ask){ .rq = rq, .fn = usage_timeseries }, rp);
}

static enum err_code by_route(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)db;
    return series(cx, &(struct ask){ .rq = rq, .fn = usage_routes }, rp);
}

static enum err_code by_country(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)db;
    return series(cx, &(struct ask){ .rq = rq, .fn = usage_countries }, rp);
}

/* ---- the log ---- */

static enum err_code requests(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    (void)db;
    enum err_code e =
        usage_page(cx, rq->app->usage, rq->caller.team_id, rq->query, &rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_usage_request, &page);
    return e;
}

static enum err_code export(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp) {
    const struct usage_filter *in = rq->query;
    bool is_csv = !REC_HAS(in, format) || str_eq(in->format, STR("csv")); struct spool * spool;
    (void)db; enum err_code e = spool_open(cx, rq->app->conf->tmp_dir, &spool); if (e) return e;
    e = usage_write_file(cx, rq->app->usage, rq->caller.team_id, in, spool);
    if (e){ spool_close(spool); return e; }
rp->spool = spool;
rp->content_type = is_csv ? "text/csv; charset=utf-8" : "application/x-ndjson";
reply_header(rp, "Content-Disposition",
             is_csv ? STR("attachment; filename=\"usage-requests.csv\"")
                    : STR("attachment; filename=\"usage-requests.ndjson\""));
return ERR_NONE;
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/usage/dashboard",
      .scope = SCOPE(USAGE_READ),
      .run = RUN_SLOW,
      .status = 200,
      .reply = &rec_usage_overview,
      .handler = dashboard,
      .id = "getUsageDashboard",
      .tag = TAG,
      .summary = "Figures of today",
      .doc = "Requests, errors and response times of all API keys of the team, about a second old. "
             "Days and hours begin in UTC." },
    { .method = "GET",
      .path = "/v1/api-keys/{api_key_id}/stats",
      .scope = SCOPE(USAGE_READ),
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_usage_key,
      .handler = key_stats,
      .id = "getApiKeyStats",
      .tag = TAG,
      .summary = "Statistics of an API key",
      .doc = "With what is left of its requests of this hour." },
    { .method = "GET",
      .path = "/v1/usage/timeseries",
      .scope = SCOPE(USAGE_READ),
      .run = RUN_SLOW,
      .status = 200,
      .query = &rec_usage_span,
      .reply = &rec_usage_timeseries,
      .handler = timeseries,
      .id = "getUsageTimeseries",
      .tag = TAG,
      .summary = "Requests by minute, hour or day",
      .doc = "At most 1,500 buckets, empty ones included." },
    { .method = "GET",
      .path = "/v1/usage/routes",
      .scope = SCOPE(USAGE_READ),
      .run = RUN_SLOW,
      .status = 200,
      .query = &rec_usage_period,
      .reply = &rec_usage_routes,
      .handler = by_route,
      .id = "getUsageRoutes",
      .tag = TAG,
      .summary = "Requests by route and status class",
      .doc = "Ranges of up to six hours are counted by the minute, up to 31 days by the hour, "
             "longer ones by the day." },
    { .method = "GET",
      .path = "/v1/usage/countries",
      .scope = SCOPE(USAGE_READ),
      .run = RUN_SLOW,
      .status = 200,
      .query = &rec_usage_period,
      .reply = &rec_usage_countries,
      .handler = by_country,
      .id = "getUsageCountries",
      .tag = TAG,
      .summary = "Requests by country",
      .doc = "By the address of the client and the database file of the setting geo_database; "
             "without one all countries are unknown. Ranges of up to 31 days are counted by the "
             "hour, longer ones by the day." },
    { .method = "GET",
      .path = "/v1/usage/requests",
      .scope = SCOPE(USAGE_READ),
      .flags = ROUTE_LIST,
      .run = RUN_SLOW,
      .status = 200,
      .query = &rec_usage_filter,
      .reply = &rec_usage_request,
      .handler = requests,
      .id = "listUsageRequests",
      .tag = TAG,
      .summary = "List requests",
      .doc = "Newest first, the last 100 unless limit says otherwise, archived days included. "
             "Follow next_cursor to older ones. key_id and from/to go by index; the other filters "
             "look at every request of that range." },
    { .method = "GET",
      .path = "/v1/usage/requests/export",
      .scope = SCOPE(USAGE_READ),
      .run = RUN_SLOW,
      .status = 200,
      .query = &rec_usage_export,
      .media = "text/csv,application/x-ndjson",
      .handler = export,
      .id = "exportUsageRequests",
      .tag = TAG,
      .summary = "Export requests",
      .doc = "Everything that the filters select, newest first, as a file: CSV with a header line "
             "(text that a spreadsheet would run as a formula gets an apostrophe), or NDJSON, one "
             "request a line." },
};
const struct route_table routes_usage = { routes, sizeof routes / sizeof *routes };
