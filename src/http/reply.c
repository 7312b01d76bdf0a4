/* Answers on the wire: error bodies in both forms, the headers that every answer carries, the hand-over to libmicrohttpd.
 *
 * Bodies live in the exchange's arena, which outlives the sending, so nothing is copied. */
#include "exchange.h"

#include <string.h>

#include "../base/clock.h"
#include "../base/fault.h"
#include "../base/json.h"

#define ERROR_BODY_MAX ((size_t)64 << 10)
#define ERROR_BODY_MIN                                                                             \
    ((size_t)8                                                                                     \
     << 10) /* holds any error without its fields: a sentence is at most 512 bytes, escaped 3,072 */

static bool is_v0(const struct exchange *x)
{
    if (x->rq.route)
        return x->rq.route->flags & ROUTE_V0;
    return str_starts(x->rq.path, STR(V0_MOUNT));
}

int reply_status(const struct exchange *x, enum err_code e)
{
    if (e == ERR_NONE)
        return x->rp.status;
    return is_v0(x) ? err_info(e)->v0_status : err_info(e)->status;
}

const char *reply_code(const struct exchange *x, enum err_code e)
{
    return is_v0(x) ? err_info(e)->v0_code : err_info(e)->code;
}

/* What the client may read: our own failures keep their words to the log. */
static struct str public_text(const struct exchange *x)
{
    if (x->err == x->cx.err && x->cx.err_text.p && x->err != ERR_INTERNAL)
        return x->cx.err_text;
    return str_of(err_info(x->err)->text);
}

static void error_v0(struct exchange *x, struct buf *b)
{
    buf_lit(b, "{\"error\":");
    json_write_str(b, str_of(err_info(x->err)->v0_code));
    buf_lit(b, ",\"message\":");
    json_write_str(b, public_text(x));
    if (x->cx.n_fields > 1) {
        buf_lit(b, ",\"details\":\"");
        for (size_t i = 0; i < x->cx.n_fields; i++) {
            struct buf one;
            buf_init(&one, &x->cx.arena, 4096);
            json_write_str(&one, x->cx.fields[i].text);
            if (one.over) {
                b->over = true;
                return;
            }
            if (i)
                buf_lit(b, "; ");
            buf_add(b, one.p + 1, one.n - 2);
        }
        buf_char(b, '"');
    }
    buf_char(b, '}');
}

static void error_fields(struct exchange *x, struct buf *b)
{
    buf_lit(b, ",\"errors\":[");
    for (size_t i = 0; i < x->cx.n_fields; i++) {
        const struct field_err *f = &x->cx.fields[i];
        buf_lit(b, i ? ",{\"field\":" : "{\"field\":");
        json_write_str(b, f->field);
        buf_lit(b, ",\"code\":");
        json_write_str(b, str_of(err_info(f->code)->code));
        buf_lit(b, ",\"message\":");
        json_write_str(b, f->text);
        buf_char(b, '}');
    }
    buf_char(b, ']');
}

/* Which of the key's limits have nothing left; none when something else was limited. */
static void error_policies(const struct limit_state *l, struct buf *b)
{
    const char *sep = "";
    buf_lit(b, ",\"violated-policies\":[");
    if (l->violated & LIMIT_HOUR) {
        buf_lit(b, "\"hour\"");
        sep = ",";
    }
    for (size_t i = 0; i < l->n_named; i++)
        if (l->violated & LIMIT_NAMED(i)) {
            buf_printf(b, "%s\"" STR_FMT "\"", sep, STR_ARG(l->named[i].name));
            sep = ",";
        }
    buf_char(b, ']');
}

/* RFC 9457. The type of a spent quota is the registered one (draft-ietf-httpapi-ratelimit-headers). */
static void error_problem(struct exchange *x, struct buf *b)
{
    const struct err_info *info = err_info(x->err);
    bool is_quota = x->err == ERR_RATE_LIMITED;
    buf_lit(b, "{\"type\":\"");
    buf_lit(b, is_quota ? "https://iana.org/assignments/http-problem-types#quota-exceeded"
                        : "about:blank");
    buf_lit(b, "\",\"title\":");
    json_write_str(b, str_of(info->text));
    buf_printf(b, ",\"status\":%d,\"detail\":", info->status);
    json_write_str(b, public_text(x));
    buf_lit(b, ",\"code\":");
    json_write_str(b, str_of(info->code));
    buf_lit(b, ",\"request_id\":");
    json_write_str(b, x->cx.request_id);
    if (is_quota)
        error_policies(&x->limit, b);
    error_fields(x, b);
    buf_char(b, '}');
}

static void error_body(struct exchange *x, struct buf *b)
{
    if (is_v0(x))
        error_v0(x, b);
    else
        error_problem(x, b);
}

static void render_error(struct exchange *x)
{
    struct reply *rp = &x->rp;
    rp->status = reply_status(x, x->err);
    rp->n_headers = 0;
    rp->encoding = NULL;
    rp->file = STR_NONE;
    spool_close(rp->spool);
    rp->spool = NULL;
    rp->content_type = is_v0(x) ? "application/json" : "application/problem+json";
    buf_init(&rp->body, &x->cx.arena, ERROR_BODY_MAX);
    error_body(x, &rp->body);
    if (rp->body
            .over) { /* too many problems, or the request has used up its memory: the first sentence alone */
        x->cx.n_fields = 0;
        rp->body = (struct buf){ .p = arena_alloc(&x->cx.arena, ERROR_BODY_MIN),
                                 .cap = ERROR_BODY_MIN,
                                 .max = ERROR_BODY_MIN };
        error_body(x, &rp->body);
    }
    if (x->err == ERR_METHOD_NOT_ALLOWED)
        reply_header(rp, "Allow", x->allow);
    if (rp->status == 401)
        reply_header(rp, "WWW-Authenticate", STR("Bearer"));
}

void reply_header(struct reply *r, const char *name, struct str value)
{
    BUG_IF(r->n_headers == REPLY_HEADERS_MAX);
    r->headers[r->n_headers++] = (struct reply_header){ name, value };
}

static void add_i64(struct MHD_Response *r, const char *name, int64_t v)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)v);
    MHD_add_response_header(r, name, text);
}

static void put_limit(struct buf *b, struct str name, int64_t remaining, int64_t reset_s)
{
    buf_char(b, '"');
    buf_str(b, name);
    buf_lit(b, "\";r=");
    buf_i64(b, remaining);
    buf_lit(b, ";t=");
    buf_i64(b, reset_s);
}

/* Built by hand: printf would cost a key with named limits a microsecond a request. */
static const char *limit_text(struct arena *a, const struct limit_state *l)
{
    struct buf b;
    buf_init(&b, a, 1024);
    put_limit(&b, STR("hour"), l->remaining, l->reset_s);
    for (size_t i = 0; i < l->n_named; i++) {
        buf_lit(&b, ", ");
        put_limit(&b, l->named[i].name, l->named[i].remaining, l->named[i].reset_s);
    }
    buf_char(&b, '\0');
    return b.p;
}

/* draft-ietf-httpapi-ratelimit-headers: policy and state, on every answer to a valid token. */
static void add_limits(struct exchange *x, struct MHD_Response *r)
{
    const struct limit_state *l = &x->limit;
    if (l->limit) {
        MHD_add_response_header(r, "RateLimit-Policy", l->policy.p);
        MHD_add_response_header(r, "RateLimit", limit_text(&x->cx.arena, l));
        if (x->srv->conf->x_ratelimit_headers) {
            add_i64(r, "X-RateLimit-Limit", l->limit);
            add_i64(r, "X-RateLimit-Remaining", l->remaining);
            add_i64(r, "X-RateLimit-Reset", clock_ms() / 1000 + l->reset_s);
        }
    }
    if (x->err && x->cx.retry_after_s)
        add_i64(r, "Retry-After", x->cx.retry_after_s);
    else if (x->err == ERR_UNAVAILABLE)
        add_i64(r, "Retry-After", 1);
}

int reply_ageing(const struct route *r, struct arena *a, struct reply_header out[AGEING_HEADERS])
{
    int n = 0;
    if (!r || !r->deprecated_s)
        return 0;
    out[n++] =
        (struct reply_header){ "Deprecation", str_printf(a, "@%lld", (long long)r->deprecated_s) };
    if (r->sunset_s) {
        struct buf b;
        buf_init(&b, a, 64);
        time_print_http(&b, r->sunset_s * 1000);
        out[n++] = (struct reply_header){ "Sunset", buf_view(&b) };
    }
    if (r->successor)
        out[n++] = (struct reply_header){ "Link", str_printf(a, "<%s>; rel=\"successor-version\"",
                                                             r->successor) };
    return n;
}

static void add_ageing(struct exchange *x, struct MHD_Response *r)
{
    struct reply_header headers[AGEING_HEADERS];
    int n = reply_ageing(x->rq.route, &x->cx.arena, headers);
    for (int i = 0; i < n; i++)
        MHD_add_response_header(r, headers[i].name, str_cstr(&x->cx.arena, headers[i].value));
}

static void add_headers(struct exchange *x, struct MHD_Response *r)
{
    const struct reply *rp = &x->rp;
    bool has_cache = false;
    if (rp->status != 204 && rp->status != 304)
        MHD_add_response_header(r, "Content-Type", rp->content_type);
    if (rp->encoding)
        MHD_add_response_header(r, "Content-Encoding", rp->encoding);
    if (gzip_varies(x))
        MHD_add_response_header(r, "Vary", "Accept-Encoding");
    MHD_add_response_header(r, "X-Request-Id", str_cstr(&x->cx.arena, x->cx.request_id));
    for (int i = 0; i < rp->n_headers; i++) {
        MHD_add_response_header(r, rp->headers[i].name,
                                str_cstr(&x->cx.arena, rp->headers[i].value));
        has_cache |= !strcmp(rp->headers[i].name, "Cache-Control");
    }
    if (!has_cache)
        MHD_add_response_header(r, "Cache-Control", "no-store");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    if (x->srv->tls)
        MHD_add_response_header(r, "Strict-Transport-Security", "max-age=31536000");
    add_limits(x, r);
    add_ageing(x, r);
    cors_headers(x, r);
    if (x->must_close || atomic_load_explicit(&x->srv->is_stopping, memory_order_relaxed))
        MHD_add_response_header(r, "Connection", "close");
}

/* A spool's file is sent piece by piece and closed by libmicrohttpd; a body stays in the arena. */
static struct MHD_Response *make_response(struct exchange *x)
{
    struct reply *rp = &x->rp;
    if (rp->spool) {
        uint64_t size = (uint64_t)spool_size(rp->spool);
        struct MHD_Response *r = MHD_create_response_from_fd64(size, spool_fd(rp->spool));
        if (r)
            spool_take(rp->spool);
        rp->spool = r ? NULL : rp->spool;
        return r;
    }
    gzip_apply(x);
    struct str body = rp->file.p ? rp->file : buf_view(&rp->body);
    return MHD_create_response_from_buffer(body.n, (void *)(uintptr_t)body.p,
                                           MHD_RESPMEM_PERSISTENT);
}

enum MHD_Result reply_send(struct exchange *x)
{
    if (x->has_claim) /* before the answer is out: whoever has read it may send the same key again at once */
        idem_leave(x->claim);
    x->has_claim = false;
    if (x->err)
        render_error(x);
    if (fault_hit(FAULT_SEND))
        return MHD_NO;
    int64_t size = x->rp.spool ? spool_size(x->rp.spool) : 0;
    struct MHD_Response *r = make_response(x);
    if (!r)
        return MHD_NO;
    add_headers(x, r);
    conn_deadline(x->conn, x->srv->conf->send_timeout_s + size / SLOWEST_BYTES_S);
    enum MHD_Result ok = MHD_queue_response(x->mhd, (unsigned)x->rp.status, r);
    MHD_destroy_response(r);
    x->state = X_SENT;
    return ok;
}
