/* What needs no token: health, readiness, metrics, the API description and its page. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../connect/webhook/webhook_engine.h"
#include "../core/egress_log.h"
#include "assets.h"
#include "openapi.h"
#include "route.h"

#define TAG "Server"

static enum err_code healthz(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)cx, (void)rq, (void)db;
    buf_lit(&rp->body, "{\"status\":\"ok\",\"version\":\"" TESSERA_VERSION "\"}");
    return ERR_NONE;
}

static enum err_code readyz(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)db;
    enum err_code e = store_ready(cx, rq->app->store);
    if (e)
        return e;
    buf_lit(&rp->body, "{\"status\":\"ready\"}");
    return ERR_NONE;
}

static void gauge(struct buf *b, const char *name, const char *type, const char *help, int64_t v)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n%s %lld\n", name, help, name, type, name,
               (long long)v);
}

static int64_t resident_bytes(void)
{
    char text[256];
    int64_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    struct str rest = { text, fread(text, 1, sizeof text, f) };
    fclose(f);
    str_cut(&rest, ' '); /* the whole size; the resident one follows */
    return str_to_i64(str_cut(&rest, ' '), &pages) ? pages * sysconf(_SC_PAGESIZE) : 0;
}

static void egress_metrics(struct buf *b, const struct app *app)
{
    struct egress_counts c;
    struct egress_log_counts log;
    if (!app->egress || !app->egress_log)
        return;
    egress_counts(app->egress, &c);
    egress_log_counts(app->egress_log, &log);
    gauge(b, "tessera_egress_running", "gauge", "Outbound calls that run.", c.running);
    gauge(b, "tessera_egress_waiting", "gauge", "Outbound calls in line.", c.waiting);
    gauge(b, "tessera_egress_hosts_resting", "gauge",
          "Hosts that are not called for a while after failures.", c.hosts_resting);
    gauge(b, "tessera_egress_log_dropped_total", "counter",
          "Outbound calls that the request log had no room for.", log.dropped);
    buf_lit(b, "# HELP tessera_egress_calls_total Outbound calls that ended, by outcome.\n"
               "# TYPE tessera_egress_calls_total counter\n");
    for (int i = 0; i < EGRESS_CLASSES; i++)
        buf_printf(b, "tessera_egress_calls_total{outcome=\"%s\"} %lld\n", egress_class_words[i],
                   (long long)c.ended[i]);
}

static enum err_code metrics(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)cx, (void)db;
    struct buf *b = &rp->body;
    struct store_stats st;
    struct usage_counters us;
    store_stats(rq->app->store, &st);
    usage_counters(rq->app->usage, &us);
    rp->content_type = "text/plain; version=0.0.4; charset=utf-8";
    rq->app->metrics(b);
    gauge(b, "tessera_store_commits_total", "counter", "Transactions committed by the writers.",
          st.batches);
    gauge(b, "tessera_store_units_total", "counter", "Writes in those transactions.", st.units);
    gauge(b, "tessera_store_reruns_total", "counter", "Batches run again with each write apart.",
          st.reruns);
    gauge(b, "tessera_store_commit_failures_total", "counter",
          "Transactions that could not be committed.", st.commit_failures);
    gauge(b, "tessera_store_commit_microseconds_total", "counter", "Time spent in COMMIT.",
          st.commit_us_sum);
    gauge(b, "tessera_store_queue", "gauge", "Writes waiting.", st.queued);
    gauge(b, "tessera_store_wal_bytes", "gauge", "Size of SQLite's write-ahead log.", st.wal_bytes);
    gauge(b, "tessera_usage_noted_total", "counter", "Requests handed to the usage log.", us.noted);
    gauge(b, "tessera_usage_dropped_total", "counter",
          "Requests whose detail was dropped (their counts are kept).", us.dropped);
    gauge(b, "tessera_usage_stored_total", "counter", "Usage rows stored.", us.stored);
    gauge(b, "tessera_usage_flush_failures_total", "counter",
          "Usage flushes that failed and were tried again.", us.flush_failures);
    egress_metrics(b, rq->app);
    webhooks_metrics(b, rq->app->webhooks);
    gauge(b, "tessera_tokens", "gauge", "Live tokens.", token_dir_count(rq->app->tokens));
    gauge(b, "process_start_time_seconds", "gauge", "Start of the process, unix time.",
          rq->app->started_ms / 1000);
    gauge(b, "process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
    return ERR_NONE;
}

static enum err_code openapi(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)cx, (void)db;
    rp->file = rq->app->openapi;
    rp->encoding = "gzip";
    return ERR_NONE;
}

static enum err_code put_asset(struct ctx *cx, struct req *rq, struct reply *rp, const char *name)
{
    for (const struct asset *a = assets; a->name; a++) {
        if (strcmp(a->name, name) != 0)
            continue;
        reply_header(rp, "Cache-Control", STR("no-cache"));
        reply_header(rp, "ETag", str_of(a->etag));
        reply_header(rp, "Content-Security-Policy",
                     STR("default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
                         "img-src 'self' data:; connect-src 'self'; "
                         "base-uri 'none'; frame-ancestors 'none'"));
        rp->content_type = a->type;
        if (str_eq(rq->if_none_match, str_of(a->etag))) {
            rp->status = 304;
            return ERR_NONE;
        }
        rp->encoding = "gzip";
        rp->file = (struct str){ (const char *)a->gzip, a->n };
        return ERR_NONE;
    }
    return fail(cx, NOT_FOUND, "There is nothing at this path");
}

static enum err_code docs_page(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)db;
    return put_asset(cx, rq, rp, "index.html");
}

static enum err_code docs_file(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)db;
    return put_asset(cx, rq, rp, str_cstr(&cx->arena, rq->params[0]));
}

#define STATUS_SCHEMA(word)                                                                        \
    "{\"type\":\"object\",\"required\":[\"status\"],\"properties\":{\"status\":{\"const\":\"" word \
    "\"},\"version\":{\"type\":\"string\"}},"                                                      \
    "\"additionalProperties\":false}"

static const struct route routes[] = {
    { .method = "GET",
      .path = "/healthz",
      .flags = ROUTE_PUBLIC,
      .run = RUN_NOW,
      .status = 200,
      .reply_schema = STATUS_SCHEMA("ok"),
      .handler = healthz,
      .id = "healthz",
      .tag = TAG,
      .summary = "Is the process up",
      .doc = "Answers as long as the process runs." },
    { .method = "GET",
      .path = "/readyz",
      .flags = ROUTE_PUBLIC,
      .run = RUN_NOW,
      .status = 200,
      .reply_schema = STATUS_SCHEMA("ready"),
      .handler = readyz,
      .id = "readyz",
      .tag = TAG,
      .summary = "Can the server work",
      .doc = "200 when the database answers and all migrations are applied, else 503." },
    { .method = "GET",
      .path = "/metrics",
      .flags = ROUTE_PUBLIC,
      .run = RUN_NOW,
      .status = 200,
      .media = "text/plain",
      .handler = metrics,
      .id = "metrics",
      .tag = TAG,
      .summary = "Metrics",
      .doc = "Prometheus text format." },
    { .method = "GET",
      .path = "/openapi.json",
      .flags = ROUTE_PUBLIC,
      .run = RUN_NOW,
      .status = 200,
      .reply_schema = "{\"type\":\"object\"}",
      .handler = openapi,
      .id = "openapi",
      .tag = TAG,
      .summary = "This description",
      .doc = "OpenAPI 3.1." },
    { .method = "GET",
      .path = "/docs",
      .flags = ROUTE_PUBLIC,
      .run = RUN_NOW,
      .status = 200,
      .media = "text/html",
      .handler = docs_page,
      .id = "docs",
      .tag = TAG,
      .summary = "API reference page",
      .doc = "A page to read and try the API; needs no other host." },
    { .method = "GET",
      .path = "/docs/{file}",
      .flags = ROUTE_PUBLIC,
      .run = RUN_NOW,
      .status = 200,
      .media = "text/html,text/css,text/javascript,image/png",
      .handler = docs_file,
      .id = "docsFile",
      .tag = TAG,
      .summary = "Files of the API reference page",
      .doc = "Scripts and styles of /docs." },
};
const struct route_table routes_meta = { routes, sizeof routes / sizeof *routes };
