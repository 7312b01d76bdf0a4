/* /v1/reports: saved reports, running them, exporting them. */
#include "routes.h"

#include "../base/clock.h"
#include "../core/report/export.h"
#include "../core/report/report.h"
#include "../core/report/report_run.h"
#include "etag.h"
#include "page.h"
#include "settings.h"

#define TAG "Reports"

/* ---- saved reports ---- */

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = report_list(cx, db, &rq->caller, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_report, &page);
    return e;
}

static void put_report(struct ctx *cx, struct reply *rp, const struct report *r)
{
    etag_put(cx, rp, r->version);
    rec_encode(&rp->body, &rec_report, r);
}

static enum err_code create(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct report r;
    enum err_code e = report_create(cx, db, &rq->caller, rq->body, &r);
    if (e)
        return e;
    reply_header(rp, "Location", str_printf(&cx->arena, "/v1/reports/" STR_FMT, STR_ARG(r.id)));
    put_report(cx, rp, &r);
    return ERR_NONE;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct report r;
    enum err_code e = report_get(cx, db, &rq->caller, rq->params[0], &r);
    if (e)
        return e;
    if (!etag_unchanged(cx, rq, rp, r.version))
        put_report(cx, rp, &r);
    return ERR_NONE;
}

static enum err_code update(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct report r;
    struct versions allowed;
    etag_if_match(rq, &allowed);
    enum err_code e = report_update(cx, db, &rq->caller, rq->params[0], rq->body, &allowed, &r);
    if (!e)
        put_report(cx, rp, &r);
    return e;
}

static enum err_code drop(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct versions allowed;
    (void)rp;
    etag_if_match(rq, &allowed);
    return report_delete(cx, db, &rq->caller, rq->params[0], &allowed);
}

static enum err_code fields(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct report_fields f;
    (void)rq;
    (void)db;
    report_fields_show(cx, &f);
    rec_encode(&rp->body, &rec_report_fields, &f);
    return ERR_NONE;
}

/* ---- running ---- */

struct range_in { /* body of execute: instead of the definition's */
    struct rec_bits bits;
    struct str from, to;
};
static const struct field range_fields[] = {
    { "from", F_STR, offsetof(struct range_in, from), F_NULLABLE, 1, 40, NULL,
      "Instead of the definition's from", "\"-7d\"" },
    { "to", F_STR, offsetof(struct range_in, to), F_NULLABLE, 1, 40, NULL,
      "Instead of the definition's to", NULL },
};
static const struct rec rec_range =
    REC("ReportRange", struct range_in, range_fields, "What time a run looks at.");

struct adhoc_in {
    struct rec_bits bits;
    struct str definition;
};
static const struct field adhoc_fields[] = {
    { "definition", F_REC, offsetof(struct adhoc_in, definition), F_REQUIRED, 0, 0, NULL,
      "What to show", NULL, &rec_report_definition },
};
static const struct rec rec_adhoc =
    REC("ReportRun", struct adhoc_in, adhoc_fields, "A report that is not saved.");

/* A run needs more memory than a request has, so it gets a ctx of its own; its words come back. */
static enum err_code run_in(struct ctx *work, struct req *rq, struct str definition,
                            const struct report_when range[2], struct spool *to)
{
    struct report_table t;
    struct report_def *d = ARENA_NEW(&work->arena, struct report_def);
    struct report_ask ask = {
        .def = d, .who = &rq->caller, .from = range[0], .to = range[1], .now_ms = clock_ms()
    };
    enum err_code e = report_def_parse(work, definition, "definition", ask.now_ms, d);
    if (!e)
        e = report_execute(work, rq->app->store, &ask, &t);
    if (e)
        return e;
    report_write_json(work, &t, to);
    return spool_done(work, to);
}

static void take_error(struct ctx *cx, const struct ctx *from)
{
    for (size_t i = 0; i < from->n_fields; i++)
        ctx_fail_field(cx, from->fields[i].code, from->fields[i].field, STR_FMT,
                       STR_ARG(from->fields[i].text));
    if (from->err && from->err_text.p)
        ctx_fail(cx, from->err, STR_FMT, STR_ARG(from->err_text));
    else if (from->err)
        ctx_fail_plain(cx, from->err);
}

static enum err_code run(struct ctx *cx, struct req *rq, struct str definition,
                         const struct report_when range[2], struct reply *rp)
{
    struct ctx work;
    struct spool *spool;
    enum err_code e = spool_open(cx, rq->app->conf->tmp_dir, &spool);
    if (e)
        return e;
    ctx_init(&work, REPORT_MEMORY);
    work.stop = cx->stop;
    work.request_id = cx->request_id;
    e = run_in(&work, rq, definition, range, spool);
    if (e) {
        take_error(cx, &work);
        spool_close(spool);
    } else {
        rp->spool = spool;
    }
    ctx_done(&work);
    return e;
}

struct saved {
    const struct req *rq;
    struct report report;
};

static enum err_code saved_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct saved *s = arg;
    caller_scope(db, &s->rq->caller);
    return report_get(cx, db, &s->rq->caller, s->rq->params[0], &s->report);
}

static enum err_code execute(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct range_in *in = rq->body;
    struct saved s = { .rq = rq };
    struct report_when range[2];
    (void)db;
    report_when_parse(cx, in->from, STR("from"), &range[0]);
    report_when_parse(cx, in->to, STR("to"), &range[1]);
    enum err_code e = cx->err ? cx->err : store_read(cx, rq->app->store, saved_unit, &s);
    return e ? e : run(cx, rq, s.report.definition, range, rp);
}

static enum err_code execute_adhoc(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct adhoc_in *in = rq->body;
    (void)db;
    return run(cx, rq, in->definition, (struct report_when[2]){ { .is_set = false } }, rp);
}

static enum err_code export(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp) {
    struct export made; (void)db;
    enum err_code e = exports_add_report(cx, rq->app->exports, &rq->caller, rq->params[0], rq->body,
                                         &made);
    if (e) return e;
    reply_header(rp, "Location", str_printf(&cx->arena, "/v1/exports/" STR_FMT, STR_ARG(made.id)));
    buf_lit(&rp->body, "{\"job\":");
    rec_encode(&rp->body, &rec_export, &made);
    buf_char(&rp->body, '}');
    return ERR_NONE;
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/reports",
      .scope = SCOPE(REPORTS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_report_query,
      .reply = &rec_report,
      .handler = list,
      .id = "listReports",
      .tag = TAG,
      .summary = "List saved reports",
      .doc = "Those of the team in the order they were made." },
    { .method = "POST",
      .path = "/v1/reports",
      .scope = SCOPE(REPORTS_WRITE),
      .flags = ROUTE_ETAG,
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_report_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_report,
      .handler = create,
      .id = "createReport",
      .tag = TAG,
      .summary = "Save a report",
      .doc = "The definition names a source, filters, groups, a bucket of time and measures; what "
             "there is to name tells GET /v1/reports/fields. Every problem is named by its path." },
    { .method = "GET",
      .path = "/v1/reports/fields",
      .scope = SCOPE(REPORTS_READ),
      .run = RUN_NOW,
      .status = 200,
      .reply = &rec_report_fields,
      .handler = fields,
      .id = "listReportFields",
      .tag = TAG,
      .summary = "What reports may speak of",
      .doc = "Sources and their fields: types, operators of filters, measures." },
    { .method = "POST",
      .path = "/v1/reports/execute",
      .scope = SCOPE(REPORTS_EXECUTE),
      .run = RUN_SLOW,
      .status = 200,
      .body = &rec_adhoc,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_report_result,
      .handler = execute_adhoc,
      .id = "executeReportDefinition",
      .tag = TAG,
      .summary = "Run a report that is not saved",
      .doc = "As POST /v1/reports/{report_id}/execute." },
    { .method = "GET",
      .path = "/v1/reports/{report_id}",
      .scope = SCOPE(REPORTS_READ),
      .flags = ROUTE_ETAG,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_report,
      .handler = get,
      .id = "getReport",
      .tag = TAG,
      .summary = "Get a saved report",
      .doc = "With If-None-Match and an unchanged report: 304." },
    { .method = "PATCH",
      .path = "/v1/reports/{report_id}",
      .scope = SCOPE(REPORTS_WRITE),
      .flags = ROUTE_ETAG | ROUTE_IF_MATCH,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_report_patch,
      .body_mode = REC_REFUSE_UNKNOWN | REC_PATCH,
      .reply = &rec_report,
      .handler = update,
      .id = "updateReport",
      .tag = TAG,
      .summary = "Change a saved report",
      .doc = "JSON merge patch (RFC 7396), except that a definition takes the place of the whole "
             "old one." },
    { .method = "DELETE",
      .path = "/v1/reports/{report_id}",
      .scope = SCOPE(REPORTS_WRITE),
      .flags = ROUTE_IF_MATCH,
      .run = RUN_WRITE,
      .status = 204,
      .handler = drop,
      .id = "deleteReport",
      .tag = TAG,
      .summary = "Delete a saved report",
      .doc = "Its schedules go with it." },
    { .method = "POST",
      .path = "/v1/reports/{report_id}/execute",
      .scope = SCOPE(REPORTS_EXECUTE),
      .run = RUN_SLOW,
      .status = 200,
      .body = &rec_range,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_report_result,
      .handler = execute,
      .id = "executeReport",
      .tag = TAG,
      .summary = "Run a saved report",
      .doc = "The caller also needs the scope of the source (GET /v1/reports/fields) and sees in "
             "the figures what it sees elsewhere: an API key without admin:full its own tickets "
             "and their comments. At most 30 seconds and 100,000 groups." },
    { .method = "POST",
      .path = "/v1/reports/{report_id}/export",
      .scope = SCOPE(REPORTS_EXPORT),
      .flags = ROUTE_CONFLICT,
      .run = RUN_SLOW,
      .status = 202,
      .body = &rec_export_report_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_export,
      .wrap = "job",
      .handler = export,
      .id = "exportReport",
      .tag = TAG,
      .summary = "Export a saved report as a file",
      .doc = "Starts an export; ask GET /v1/exports/{export_id} until it is done." },
};
const struct route_table routes_reports = { routes, sizeof routes / sizeof *routes };
