/* The life of one request: libmicrohttpd's callbacks and the hand-over to the store.
 *
 * begin (request line) → step with the headers → step with each piece of the body → step without data: run → [suspended while
 * the store works → step again] → reply queued → end (accounting, memory). A write's usage event travels with its
 * unit, so that its row commits with it; every other counted request is noted at its end. */
#include "exchange.h"

#include <stdlib.h>
#include <string.h>

#include "../base/clock.h"
#include "../base/json.h"
#include "../base/log.h"

#define EXCHANGE_MEMORY ((size_t)16 << 20)
#define REPLY_BODY_MAX ((size_t)12 << 20)

void *exchange_begin(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct server *s = cls;
    struct exchange *x = calloc(1, sizeof *x);
    BUG_IF(!x);
    const union MHD_ConnectionInfo *slot =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    x->srv = s;
    x->mhd = mhd;
    x->conn = slot->socket_context;
    x->start_us = clock_mono_us();
    ctx_init(&x->cx, EXCHANGE_MEMORY);
    x->event.at_ms = clock_ms();
    x->event.endpoint = "(unknown)";
    x->event.method = "";
    x->rq.app = s->app;
    struct str rest = str_dup(&x->cx.arena, str_of(uri));
    x->rq.path = str_cut(&rest, '?');
    x->rq.query_text = rest;
    x->rp.content_type = "application/json";
    buf_init(&x->body, &x->cx.arena, BODY_MAX);
    buf_init(&x->rp.body, &x->cx.arena, REPLY_BODY_MAX);
    atomic_fetch_add(&s->in_flight, 1);
    conn_deadline(x->conn, s->conf->header_timeout_s);
    return x;
}

static int64_t upload_max(const struct exchange *x)
{
    return x->srv->conf->attachment_max_mb << 20;
}

static void exchange_note(struct exchange *x)
{
    int64_t took = clock_mono_us() - x->start_us;
    int status = reply_status(x, x->err);
    if (x->state != X_SENT)
        return; /* the peer went away before there was an answer */
    metrics_note(x->srv, x->rq.route, status, took);
    if (!x->is_counted || x->is_stored)
        return;
    x->event.took_us = took;
    x->event.status = status;
    x->event.error = x->err ? str_of(reply_code(x, x->err)) : STR_NONE;
    usage_note(x->srv->app->usage, &x->event);
}

void exchange_end(void *cls, struct MHD_Connection *mhd, void **state,
                  enum MHD_RequestTerminationCode why)
{
    (void)cls, (void)mhd, (void)why;
    struct exchange *x = *state;
    struct server *s = x ? x->srv : NULL;
    if (!x)
        return;
    if (x->has_claim)
        idem_leave(x->claim);
    exchange_note(x);
    spool_close(x->upload);
    spool_close(x->rp.spool);
    atomic_fetch_sub(&s->raw_bytes, x->raw_bytes);
    conn_deadline(x->conn, s->conf->idle_timeout_s + s->conf->header_timeout_s);
    ctx_done(&x->cx);
    free(x);
    *state = NULL;
    atomic_fetch_sub(&s->in_flight, 1);
}

/* ---- running the handler ---- */

static enum err_code replay(struct exchange *x, const struct idem_answer *a)
{
    x->rp.status = (int)a->status;
    buf_str(&x->rp.body, a->body);
    json_t *headers = a->headers.n ? json_read(&x->cx, a->headers) : NULL;
    const char *name;
    json_t *value;
    if (headers)
        json_object_foreach(headers, name, value)
            reply_header(&x->rp, str_cstr(&x->cx.arena, str_of(name)),
                         str_of(json_string_value(value)));
    reply_header(&x->rp, "Idempotency-Replayed", STR("true"));
    return ERR_NONE;
}

static enum err_code keep(struct exchange *x, struct db *db)
{
    struct buf b;
    buf_init(&b, &x->cx.arena, 16384);
    buf_char(&b, '{');
    for (int i = 0; i < x->rp.n_headers; i++) {
        if (i)
            buf_char(&b, ',');
        json_write_str(&b, str_of(x->rp.headers[i].name));
        buf_char(&b, ':');
        json_write_str(&b, x->rp.headers[i].value);
    }
    buf_char(&b, '}');
    struct idem_answer a = { .headers = buf_view(&b),
                             .body = buf_view(&x->rp.body),
                             .status = x->rp.status };
    caller_scope(db, &x->idem_who);
    return idem_keep(&x->cx, db, &x->idem_who, &x->idem, &a);
}

static enum err_code handle(struct exchange *x, struct db *db)
{
    enum err_code e = x->rq.route->handler(&x->cx, &x->rq, db, &x->rp);
    if (!e && x->rp.body.over)
        e = fail(&x->cx, INTERNAL, "the answer is larger than %zu bytes", REPLY_BODY_MAX);
    return e;
}

/* The unit of work around every handler that uses the store. May run twice (see store.h): it starts from a clean reply. */
static enum err_code exchange_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct exchange *x = arg;
    enum err_code e;
    x->rp.status = x->rq.route->status;
    x->rp.n_headers = 0;
    buf_reset(&x->rp.body);
    if (x->has_idem) {
        struct idem_answer a;
        bool found = false;
        caller_scope(db, &x->idem_who);
        e = idem_find(cx, db, &x->idem_who, &x->idem, &found, &a);
        if (e)
            return e;
        if (found)
            return replay(x, &a);
    }
    if (x->rq.caller.team_id.p)
        caller_scope(db, &x->rq.caller);
    e = handle(x, db);
    if (!e && x->has_idem)
        e = keep(x, db);
    return e;
}

static void unit_ran(struct unit *u, enum err_code e)
{
    struct exchange *x = u->arg;
    x->event.status = reply_status(x, e);
    x->event.error = e ? str_of(reply_code(x, e)) : STR_NONE;
    x->event.took_us = clock_mono_us() - x->start_us;
}

bool exchange_suspend(struct exchange *x)
{
    struct server *s = x->srv;
    atomic_fetch_add(&s->suspended, 1); /* before the look: either it is seen, or the stop waits */
    if (atomic_load(&s->is_closing)) {
        atomic_fetch_sub(&s->suspended, 1);
        return false;
    }
    x->state = X_WAITING;
    conn_deadline(x->conn, 0);
    MHD_suspend_connection(x->mhd);
    return true;
}

void exchange_resume(struct exchange *x, enum exchange_state state)
{
    struct server *s = x->srv;
    x->state = state;
    MHD_resume_connection(x->mhd);
    atomic_fetch_sub(&s->suspended, 1);
}

static void unit_done(struct unit *u, enum err_code e)
{
    struct exchange *x = u->arg;
    x->err = e;
    exchange_resume(x, X_READY);
}

/* Writes: the row is in the transaction unless the commit itself failed (then the end of the exchange notes the 503). */
static void write_done(struct unit *u, enum err_code e)
{
    struct exchange *x = u->arg;
    x->is_stored = x->event.status == reply_status(x, e) && !(e == ERR_UNAVAILABLE);
    unit_done(u, e);
}

void exchange_slow_run(struct exchange *x)
{
    x->err = handle(x, NULL);
    exchange_resume(x, X_READY);
}

static enum MHD_Result suspend_and_slow(struct exchange *x)
{
    if (!exchange_suspend(x))
        return MHD_NO;
    if (!slow_submit(x->srv->slow, x)) {
        x->err = ctx_fail_plain(&x->cx, ERR_UNAVAILABLE);
        exchange_resume(x, X_READY);
    }
    return MHD_YES;
}

/* Creates never wait for an answer in the middle, so one writer takes them all in the largest batches (measured on
 * PostgreSQL: 26 µs of its time each against 35 over two). What reads before it writes is spread by its ticket,
 * which also keeps the order of its changes. */
static uint64_t writer_key(const struct exchange *x)
{
    uint64_t key = 0;
    if (x->rq.params[0].p) {
        key = 1469598103934665603u;
        for (size_t i = 0; i < x->rq.params[0].n; i++)
            key = (key ^ (unsigned char)x->rq.params[0].p[i]) * 1099511628211u;
    }
    return key;
}

/* Of a suspended exchange. */
static void submit(struct exchange *x)
{
    struct server *s = x->srv;
    bool is_write = x->rq.route->run == RUN_WRITE;
    x->unit = (struct unit){ .fn = exchange_unit,
                             .ran = unit_ran,
                             .done = is_write ? write_done : unit_done,
                             .cx = &x->cx,
                             .arg = x,
                             .tag = is_write && x->is_counted ? &x->event : NULL };
    if (is_write)
        store_submit(s->app->store, &x->unit, writer_key(x));
    else
        store_submit_read(s->app->store, &x->unit);
}

static enum MHD_Result suspend_and_submit(struct exchange *x)
{
    if (!exchange_suspend(x))
        return MHD_NO;
    submit(x);
    return MHD_YES;
}

/* ---- the read before a write ---- */

static enum err_code before_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct exchange *x = arg;
    return x->rq.route->before(cx, &x->rq, db, &x->rp);
}

static void before_done(struct unit *u, enum err_code e)
{
    struct exchange *x = u->arg;
    x->is_met = true;
    x->err = e;
    if (e || x->rq.is_answered)
        exchange_resume(x, X_READY);
    else
        submit(x);
}

static enum MHD_Result run_before(struct exchange *x)
{
    struct store *store = x->srv->app->store;
    if (store_reads_inline(store)) {
        x->is_met = true;
        x->err = store_read(&x->cx, store, before_unit, x);
        return x->err || x->rq.is_answered ? reply_send(x) : suspend_and_submit(x);
    }
    x->unit = (struct unit){ .fn = before_unit, .done = before_done, .cx = &x->cx, .arg = x };
    if (!exchange_suspend(x))
        return MHD_NO;
    store_submit_read(store, &x->unit);
    return MHD_YES;
}

static enum MHD_Result exchange_run(struct exchange *x)
{
    struct store *store = x->srv->app->store;
    switch (x->rq.route->run) {
    case RUN_NOW: x->err = handle(x, NULL); return reply_send(x);
    case RUN_READ:
        if (!store_reads_inline(store))
            return suspend_and_submit(x);
        x->err = store_read(&x->cx, store, exchange_unit, x);
        return reply_send(x);
    case RUN_WRITE: return x->rq.route->before ? run_before(x) : suspend_and_submit(x);
    case RUN_SLOW: return suspend_and_slow(x);
    }
    return MHD_NO;
}

/* ---- libmicrohttpd's steps ---- */

static enum err_code check_headers(struct exchange *x)
{
    guard_find(x);
    enum err_code e = guard_headers(x);
    enum err_code routed = guard_route(x);
    if (!e && cors_is_preflight(x) && (x->allow.n || !routed)) {
        ctx_clear(&x->cx);
        return ERR_NONE;
    }
    if (!e)
        e = routed;
    if (!e)
        return x->rq.route->flags & ROUTE_PUBLIC ? ERR_NONE
               : person_is_meant(x)              ? person_prove(x)
                                                 : guard_auth(x);
    /* A valid token is still counted and named in the usage log; the first failure stays the answer. */
    if (x->in.authorization.p && x->is_counted)
        guard_auth(x);
    x->cx.retry_after_s = 0;
    return e;
}

/* A slow line may take its time over a large body, but not for ever. */
static int64_t body_time_s(const struct exchange *x)
{
    int64_t base = x->srv->conf->body_timeout_s, length = 0;
    if (x->rq.route && x->rq.route->flags & ROUTE_UPLOAD)
        length =
            x->in.n_length && str_to_i64(x->in.content_length, &length) ? length : upload_max(x);
    return base + length / SLOWEST_BYTES_S;
}

/* Everything that the headers say is decided: the body comes next. */
static enum MHD_Result step_identified(struct exchange *x)
{
    bool is_upload = x->rq.route && x->rq.route->flags & ROUTE_UPLOAD;
    x->state = X_BODY;
    conn_deadline(x->conn, body_time_s(x));
    if (!x->err && is_upload)
        x->err = spool_open(&x->cx, x->srv->conf->tmp_dir, &x->upload);
    x->is_discarding = x->err != ERR_NONE;
    if (x->must_close || (x->err && is_upload)) {
        x->must_close = true;
        return reply_send(x); /* before the body is read: libmicrohttpd answers and closes */
    }
    return MHD_YES;
}

static enum MHD_Result step_headers(struct exchange *x, const char *method)
{
    x->rq.method = str_dup(&x->cx.arena, str_of(method));
    conn_deadline(x->conn, x->srv->conf->body_timeout_s);
    x->err = check_headers(x);
    if (!x->err && (x->ask.session.p || x->ask.claims || x->names_slug)) {
        bool is_known = false;
        if (!person_resolve(x, &is_known))
            return MHD_NO;
        if (!is_known)
            return MHD_YES;
        person_known(x);
    }
    return step_identified(x);
}

/* What strangers may make the server hold is bounded over all of them. */
static bool raw_fits(struct exchange *x, size_t n)
{
    if (!x->rq.route || !(x->rq.route->flags & ROUTE_RAW))
        return true;
    x->raw_bytes += (int64_t)n;
    return atomic_fetch_add(&x->srv->raw_bytes, (int64_t)n) + (int64_t)n <= RAW_BYTES_MAX;
}

static void take_body(struct exchange *x, const char *data, size_t n)
{
    if (!raw_fits(x, n)) {
        x->err = ctx_fail_plain(&x->cx, ERR_UNAVAILABLE);
        x->is_discarding = true;
        return;
    }
    if (!x->upload) {
        buf_add(&x->body, data, n);
        return;
    }
    if (spool_size(x->upload) + (int64_t)n > upload_max(x))
        x->err = fail(&x->cx, TOO_LARGE, "The body is larger than %lld MiB (attachment_max_mb)",
                      (long long)x->srv->conf->attachment_max_mb);
    else if (!spool_add(x->upload, data, n))
        x->err = ctx_fail_plain(&x->cx, ERR_UNAVAILABLE);
    x->is_discarding = x->err != ERR_NONE;
}

static enum MHD_Result step_end(struct exchange *x)
{
    if (x->err)
        return reply_send(x);
    if (cors_is_preflight(x)) {
        x->rp.status = 204;
        reply_header(&x->rp, "Allow", x->allow.n ? x->allow : STR("OPTIONS"));
        return reply_send(x);
    }
    x->err = guard_input(x);
    if (!x->err && x->upload)
        x->err = spool_done(&x->cx, x->upload);
    x->rq.upload = x->upload;
    if (x->err)
        return reply_send(x);
    return exchange_run(x);
}

enum MHD_Result exchange_step(void *cls, struct MHD_Connection *mhd, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **state)
{
    (void)cls, (void)mhd, (void)url;
    struct exchange *x = *state;
    switch (x->state) {
    case X_NEW:
        x->is_http10 = !strcmp(version, MHD_HTTP_VERSION_1_0);
        return step_headers(x, method);
    case X_BODY:
        if (!*size)
            return step_end(x);
        if (!x->is_discarding)
            take_body(x, data, *size);
        *size = 0;
        return MHD_YES;
    case X_IDENTIFIED: person_known(x); return step_identified(x);
    case X_READY: return reply_send(x);
    case X_WAITING: /* libmicrohttpd may call once more before the suspension takes effect */
    case X_SENT: /* what still comes of a body that was answered early */ *size = 0; return MHD_YES;
    }
    return MHD_NO;
}
