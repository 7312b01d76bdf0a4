/* The request log: its filters, its pages, its files. Reading is usage_recent.c. See
 * usage_export.h. */
#include "usage_export.h"

#include <string.h>

#include "../base/clock.h"
#include "../base/csv.h"
#include "../base/net.h"
#include "listing.h"
#include "usage_inner.h"

#define EACH_ROWS USAGE_READ_MAX         /* read at once by usage_each */
#define ROW_TEXT_MAX ((size_t)256 << 10) /* of one row as JSON: all its texts escaped */

static const char *const class_words[] = { "2xx", "3xx", "4xx", "5xx", NULL };
static const char *const method_words[] = { "GET",    "POST",    "PUT",  "PATCH",
                                            "DELETE", "OPTIONS", "HEAD", NULL };
static const char *const format_words[] = { "csv", "ndjson", NULL };

#define FILTER(param, kind, low, high, list, text)                                                 \
    {                                                                                              \
        .name = #param, .type = kind, .offset = offsetof(struct usage_filter, param), .min = low,  \
        .max = high, .words = list, .doc = text                                                    \
    }
#define FILTERS                                                                                    \
    FILTER(key_id, F_UUID, 0, 0, NULL, "Requests of this API key"),                                \
        FILTER(route, F_STR, 1, 300, NULL,                                                         \
               "Pattern of the route: /v1/tickets/{ticket_id}, or with the method before it: "     \
               "GET /v1/tickets/{ticket_id}"),                                                     \
        FILTER(method, F_ENUM, 0, 0, method_words, "HTTP method"),                                 \
        FILTER(status, F_INT, 100, 599, NULL, "Status of the answer"),                             \
        FILTER(status_class, F_ENUM, 0, 0, class_words, "Class of that status"),                   \
        FILTER(ip, F_STR, 2, 45, NULL, "Address of the client"),                                   \
        FILTER(country, F_STR, 2, 2, NULL, "Country of that address, ISO 3166-1 alpha-2"),         \
        FILTER(from, F_TIME, 0, 0, NULL, "Requests that arrived at this time or later"),           \
        FILTER(to, F_TIME, 0, 0, NULL, "Requests that arrived before this time")

static const struct field filter_fields[] = {
    FILTERS, FILTER(limit, F_INT, 1, LISTING_LIMIT_MAX, NULL, "Rows a page (default 100)"),
    FILTER(cursor, F_STR, 1, 512, NULL, "next_cursor of the page before")
};
const struct rec rec_usage_filter =
    REC("UsageRequestQuery", struct usage_filter, filter_fields, "Filters of the request log.");

static const struct field export_fields[] = { FILTERS, FILTER(format, F_ENUM, 0, 0, format_words,
                                                              "csv (default) or ndjson") };
const struct rec rec_usage_export =
    REC("UsageExportQuery", struct usage_filter, export_fields, "Filters of the export.");

#define COLUMN(column, kind, member, flag, text)                                                   \
    {                                                                                              \
        .name = column, .type = kind, .offset = offsetof(struct usage_row, member), .flags = flag, \
        .doc = text                                                                                \
    }
static const struct field request_fields[] = {
    COLUMN("id", F_STR, id_text, 0, "Number of the request; grows, with gaps"),
    COLUMN("created_at", F_TIME, created_ms, 0, "When the request arrived"),
    COLUMN("key_id", F_UUID, token_id, F_NULLABLE, "The API key"),
    COLUMN("method", F_STR, method, 0, "HTTP method"),
    COLUMN("route", F_STR, endpoint, 0, "Pattern of the route; (unknown) when there is none"),
    COLUMN("status", F_INT, status_code, 0, "Status of the answer"),
    COLUMN("response_time_us", F_INT, response_time_us, 0,
           "Microseconds until the answer was ready"),
    COLUMN("ip", F_STR, ip_address, F_NULLABLE, "Address of the client"),
    COLUMN("country", F_STR, country, F_NULLABLE,
           "Country of the address; null when it is not known"),
    COLUMN("user_agent", F_STR, user_agent, F_NULLABLE, "User-Agent header, at most 256 bytes"),
    COLUMN("error", F_STR, error_message, F_NULLABLE, "Code of the error"),
    COLUMN("request_payload", F_STR, request_payload, F_NULLABLE,
           "Body of a POST, PUT or PATCH with its secrets masked, at most 4 KiB"),
};
const struct rec rec_usage_request =
    REC("UsageRequest", struct usage_row, request_fields, "One request in the log.");

/* ---- filters */

/* Fills out with what is stored: addresses in their one form, codes in capitals. */
static enum err_code filter_check(struct ctx *cx, const struct usage_filter *f,
                                  struct usage_filter *out)
{
    *out = *f;
    if (REC_HAS(f, key_id) && path_id(cx, "key_id", &out->key_id))
        return cx->err;
    if (REC_HAS(f, ip)) {
        struct ip ip;
        struct buf b;

        if (!ip_parse(f->ip, &ip))
            return ctx_fail_field(cx, ERR_INVALID_PARAMETER, STR("ip"), "ip must be an address");
        buf_init(&b, &cx->arena, 64);
        ip_print(&b, &ip);
        out->ip = buf_view(&b);
    }
    if (REC_HAS(f, country)) {
        char *code = str_cstr(&cx->arena, f->country);

        for (size_t i = 0; i < f->country.n; i++)
            if (code[i] >= 'a' && code[i] <= 'z')
                code[i] = (char)(code[i] - ('a' - 'A'));
        out->country.p = code;
    }
    if (REC_HAS(f, from) && REC_HAS(f, to) && f->from > f->to)
        return ctx_fail_field(cx, ERR_INVALID_PARAMETER, STR("to"), "to must not be before from");
    return ERR_NONE;
}

/* ---- rows */

static void set_id_text(struct arena *a, struct usage_row *row)
{
    row->id_text = str_printf(a, "%lld", (long long)row->id);
    REC_SET(row, id_text);
}

/* One read and the calls for its rows. *is_last: no more behind them. */
static enum err_code each_some(struct ctx *cx, struct usage *u, struct row_ask *ask,
                               enum err_code (*each)(struct ctx *cx, void *row, void *arg),
                               void *arg)
{
    struct list got;
    enum err_code e = usage_rows(cx, u, ask, &got);

    for (size_t i = 0; i < got.n && !e; i++) {
        struct usage_row *row = (struct usage_row *)got.v + i;

        ask->before_ms = row->created_ms;
        ask->before_id = row->id;
        set_id_text(&cx->arena, row);
        e = each(cx, row, arg);
    }
    if (!e && (int64_t)got.n < ask->limit)
        ask->limit = 0;
    return e;
}

enum err_code usage_each(struct ctx *cx, struct usage *u, struct str team_id,
                         const struct usage_filter *f,
                         enum err_code (*each)(struct ctx *cx, void *row, void *arg), void *arg)
{
    struct usage_filter checked;
    struct row_ask ask = { .team_id = team_id,
                           .f = &checked,
                           .before_ms = INT64_MAX,
                           .before_id = INT64_MAX,
                           .limit = EACH_ROWS };
    enum err_code e = filter_check(cx, f, &checked);
    struct ctx step;

    ctx_init(&step, CTX_CAP_DEFAULT);
    step.deadline_us = cx->deadline_us;
    step.stop = cx->stop;
    step.request_id = cx->request_id;
    while (!e && ask.limit && ctx_ok(cx)) {
        ctx_retry(&step);
        e = each_some(&step, u, &ask, each, arg);
    }
    if (e && step.err_text.p)
        e = ctx_fail(cx, e, STR_FMT, STR_ARG(step.err_text));
    else if (e && !cx->err)
        e = ctx_fail_plain(cx, e);
    ctx_done(&step);
    return e ? e : cx->err;
}

/* ---- pages */

static struct str filter_text(struct ctx *cx, const struct usage_filter *f)
{
    struct buf b;

    buf_init(&b, &cx->arena, 4096);
    for (size_t i = 0; i < rec_usage_filter.n; i++) {
        const struct field *field = &rec_usage_filter.fields[i];
        const char *at = (const char *)f + field->offset;

        if (field->offset == offsetof(struct usage_filter, cursor) ||
            field->offset == offsetof(struct usage_filter, limit) ||
            !rec_bit(&f->bits.has, field->offset))
            continue;
        buf_printf(&b, "%s=", field->name);
        if (field_is_int(field))
            buf_i64(&b, *(const int64_t *)(const void *)at);
        else
            buf_str(&b, *(const struct str *)(const void *)at);
        buf_char(&b, '\n');
    }
    return buf_view(&b);
}

/* Where the page begins. */
static enum err_code page_start(struct ctx *cx, const struct cursor_key *key, struct cursor *at,
                                struct row_ask *ask)
{
    enum err_code e;

    if (!REC_HAS(ask->f, cursor))
        return ERR_NONE;
    e = cursor_parse(cx, key, ask->f->cursor, at);
    ask->before_ms = at->at;
    if (!e && !str_to_i64(at->id, &ask->before_id))
        e = ctx_fail_field(cx, ERR_INVALID_PARAMETER, STR("cursor"), "cursor is not one of ours");
    return e;
}

enum err_code usage_page(struct ctx *cx, struct usage *u, struct str team_id,
                         const struct usage_filter *f, const struct cursor_key *key,
                         struct page *out)
{
    struct usage_filter checked;
    int64_t limit = REC_HAS(f, limit) ? f->limit : USAGE_LOG_LIMIT_DEFAULT;
    struct row_ask ask = { .team_id = team_id,
                           .f = &checked,
                           .before_ms = INT64_MAX,
                           .before_id = INT64_MAX,
                           .limit = limit + 1 };
    struct cursor at = { .kind = STR("usage:-created_at") };
    struct list got;
    enum err_code e = filter_check(cx, f, &checked);

    if (!e) {
        at.filter = filter_text(cx, &checked);
        e = page_start(cx, key, &at, &ask);
    }
    if (!e)
        e = usage_rows(cx, u, &ask, &got);
    if (e)
        return e;
    *out = (struct page){ .rows = got, .total = -1 };
    for (size_t i = 0; i < got.n; i++)
        set_id_text(&cx->arena, (struct usage_row *)got.v + i);
    if ((int64_t)got.n > limit) {
        const struct usage_row *last = (struct usage_row *)got.v + limit - 1;

        out->rows.n = (size_t)limit;
        at.at = last->created_ms;
        at.id = last->id_text;
        out->next_cursor = cursor_print(cx, key, &at);
    }
    return ERR_NONE;
}

/* ---- files */

static enum err_code put_csv(struct ctx *cx, void *row, void *arg)
{
    return csv_row(arg, &rec_usage_request, row) ? ERR_NONE : ctx_fail_plain(cx, ERR_UNAVAILABLE);
}

static enum err_code put_ndjson(struct ctx *cx, void *row, void *arg)
{
    struct arena a;
    struct buf b;
    bool is_fine;

    arena_init(&a, 2 * ROW_TEXT_MAX);
    buf_init(&b, &a, ROW_TEXT_MAX);
    rec_encode(&b, &rec_usage_request, row);
    buf_char(&b, '\n');
    is_fine = !b.over && spool_str(arg, buf_view(&b));
    arena_done(&a);
    return is_fine ? ERR_NONE : ctx_fail_plain(cx, ERR_UNAVAILABLE);
}

enum err_code usage_write_file(struct ctx *cx, struct usage *u, struct str team_id,
                               const struct usage_filter *f, struct spool *to)
{
    bool is_csv = !REC_HAS(f, format) || str_eq(f->format, STR("csv"));
    enum err_code e;

    if (is_csv)
        csv_head(to, &rec_usage_request);
    e = usage_each(cx, u, team_id, f, is_csv ? put_csv : put_ndjson, to);
    return e ? e : spool_done(cx, to);
}
