/* /v1/exports: start, list, look, fetch, delete. */
#include "routes.h"

#include "../core/report/export.h"
#include "page.h"

#define TAG "Exports"

static enum err_code create(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct export made;
    (void)db;
    enum err_code e = exports_add(cx, rq->app->exports, &rq->caller, rq->body, &made);
    if (e)
        return e;
    reply_header(rp, "Location", str_printf(&cx->arena, "/v1/exports/" STR_FMT, STR_ARG(made.id)));
    buf_lit(&rp->body, "{\"job\":");
    rec_encode(&rp->body, &rec_export, &made);
    buf_char(&rp->body, '}');
    return ERR_NONE;
}

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = export_list(cx, db, &rq->caller, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_export, &page);
    return e;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct export found;
    enum err_code e = export_get(cx, db, &rq->caller, rq->params[0], &found);
    if (!e)
        rec_encode(&rp->body, &rec_export, &found);
    return e;
}

static const struct {
    const char *format, *media;
} media[] = {
    { "json", "application/json" },
    { "csv", "text/csv; charset=utf-8" },
    { "ndjson", "application/x-ndjson" },
    { "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" },
};

/* The name in letters that need no quoting. */
static struct str disposition(struct ctx *cx, const struct export *x)
{
    struct buf b;
    buf_init(&b, &cx->arena, 1024);
    buf_lit(&b, "attachment; filename=\"");
    for (size_t i = 0; i < x->name.n; i++) {
        char c = x->name.p[i];
        bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                        (c >= 'a' && c <= 'z') || c == '-' || c == '_' || c == ' ';
        if (is_plain)
            buf_char(&b, c);
        else if (((unsigned char)c & 0xC0) != 0x80)
            buf_char(&b, '_');
    }
    buf_printf(&b, "." STR_FMT "\"", STR_ARG(x->format));
    return buf_view(&b);
}

static enum err_code download(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct export found;
    (void)db;
    enum err_code e =
        exports_file(cx, rq->app->exports, &rq->caller, rq->params[0], &found, &rp->spool);
    if (e)
        return e;
    for (size_t i = 0; i < sizeof media / sizeof *media; i++)
        if (str_eq(found.format, str_of(media[i].format)))
            rp->content_type = media[i].media;
    reply_header(rp, "Content-Disposition", disposition(cx, &found));
    return ERR_NONE;
}

static enum err_code drop(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)db;
    (void)rp;
    return exports_delete(cx, rq->app->exports, &rq->caller, rq->params[0]);
}

static const struct route routes[] = {
    { .method = "POST",
      .path = "/v1/exports",
      .scope = SCOPE(REPORTS_EXPORT),
      .flags = ROUTE_CONFLICT,
      .run = RUN_SLOW,
      .status = 202,
      .body = &rec_export_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_export,
      .wrap = "job",
      .handler = create,
      .id = "createExport",
      .tag = TAG,
      .summary = "Start an export of rows",
      .doc = "The request log, tickets or contacts, as a file made in the background. The caller "
             "also needs the scope to read the source, and gets what it sees there. At most 5 at "
             "once for a team: more are 409." },
    { .method = "GET",
      .path = "/v1/exports",
      .scope = SCOPE(REPORTS_EXPORT),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_list_query,
      .reply = &rec_export,
      .handler = list,
      .id = "listExports",
      .tag = TAG,
      .summary = "List exports",
      .doc = "Newest first: the caller's own; with admin:full those of the whole team." },
    { .method = "GET",
      .path = "/v1/exports/{export_id}",
      .scope = SCOPE(REPORTS_EXPORT),
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_export,
      .handler = get,
      .id = "getExport",
      .tag = TAG,
      .summary = "Get how far an export is",
      .doc = "progress and rows move about once a second." },
    { .method = "GET",
      .path = "/v1/exports/{export_id}/file",
      .scope = SCOPE(REPORTS_EXPORT),
      .flags = ROUTE_CONFLICT,
      .run = RUN_SLOW,
      .status = 200,
      .media = "application/json,text/csv,application/x-ndjson,"
               "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
      .handler = download,
      .id = "downloadExport",
      .tag = TAG,
      .summary = "Download the file of an export",
      .doc = "409 while it is not done. The file is kept for 24 hours." },
    { .method = "DELETE",
      .path = "/v1/exports/{export_id}",
      .scope = SCOPE(REPORTS_EXPORT),
      .run = RUN_SLOW,
      .status = 204,
      .handler = drop,
      .id = "deleteExport",
      .tag = TAG,
      .summary = "Delete an export",
      .doc = "Its file goes too; one that is running is stopped." },
};
const struct route_table routes_exports = { routes, sizeof routes / sizeof *routes };
