/* The log of requests to other systems: see egress_log.h.
 *
 * The ring is filled at its end under the lock; the writing thread reads from its begin without the
 * lock, since nobody touches a row between being noted and being released. */
#include "egress_log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../base/clock.h"
#include "../base/crypt.h"
#include "../base/log.h"

#define ROWS_DEFAULT 4096
#define BATCH_MAX 256
#define GATHER_US 200000 /* a row waits for others so long */
#define RETRY_US 500000
#define TRIES_MAX 20
#define IDLE_US (INT64_C(600) * 1000000)
#define SWEEP_ROWS 500
#define DRAIN_US 5000000 /* at stop */
#define ID_MAX 64
#define ENDPOINT_MAX 600

#define SQL_ADD                                                                                    \
    "INSERT INTO integration_request_log (team_id, id, integration_id, user_id, method, "          \
    "endpoint, status, success, outcome, error, duration_ms, sent_bytes, got_bytes, redirects, "   \
    "at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
#define SQL_SWEEP                                                                                  \
    "DELETE FROM integration_request_log WHERE (team_id, id) IN (SELECT team_id, id FROM "         \
    "integration_request_log WHERE at_ms < $1 ORDER BY at_ms LIMIT $2) RETURNING 1 AS n"

struct row {
    char team[ID_MAX], id[UUID_TEXT + 1], integration[ID_MAX], user[ID_MAX], method[16];
    char endpoint[ENDPOINT_MAX];
    char error[200];
    enum egress_class class;
    int64_t status, success, duration_ms, sent, got, redirects, at_ms;
};

struct egress_log {
    struct egress_log_conf conf;
    struct row *rows; /* the ring */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    size_t first, n;                /* lock */
    int64_t noted, stored, dropped; /* lock */
    bool is_stopping;               /* lock */
    pthread_t thread;
    size_t batch; /* the thread's: rows of the transaction, from first on */
};

/* ---- noting ---- */

static void put(char *to, size_t cap, struct str s)
{
    s = str_sub(s, 0, cap - 1);
    while (s.n && !str_is_utf8(s)) /* cut within a character */
        s.n--;
    if (s.n)
        memcpy(to, s.p, s.n);
    to[s.n] = '\0';
}

static void fill(struct row *row, const struct egress_record *r)
{
    struct arena a;
    arena_init(&a, 4096);
    put(row->id, sizeof row->id, uuid7(&a));
    arena_done(&a);
    put(row->team, sizeof row->team, r->labels[EGRESS_LABEL_TEAM]);
    put(row->integration, sizeof row->integration, r->labels[EGRESS_LABEL_INTEGRATION]);
    put(row->user, sizeof row->user, r->labels[EGRESS_LABEL_USER]);
    put(row->method, sizeof row->method, str_of(r->method));
    put(row->endpoint, sizeof row->endpoint, r->endpoint);
    put(row->error, sizeof row->error, r->error);
    row->class = r->class;
    row->status = r->status;
    row->success = r->is_success;
    row->duration_ms = r->duration_ms;
    row->sent = r->sent_bytes;
    row->got = r->got_bytes;
    row->redirects = r->redirects;
    row->at_ms = r->at_ms;
}

void egress_log_record(void *arg, const struct egress_record *r)
{
    struct egress_log *log = arg;
    size_t max = (size_t)log->conf.rows_max;
    if (!r->labels[EGRESS_LABEL_TEAM].n)
        return;
    pthread_mutex_lock(&log->lock);
    log->noted++;
    if (log->n == max) {
        log->dropped++;
    } else {
        fill(&log->rows[(log->first + log->n) % max], r);
        if (++log->n == 1 || log->n == BATCH_MAX)
            pthread_cond_signal(&log->wake);
    }
    pthread_mutex_unlock(&log->lock);
}

void egress_log_counts(struct egress_log *log, struct egress_log_counts *out)
{
    pthread_mutex_lock(&log->lock);
    *out = (struct egress_log_counts){ log->noted, log->stored, log->dropped };
    pthread_mutex_unlock(&log->lock);
}

/* ---- writing ---- */

static struct val text_or_null(const char *text)
{
    return *text ? VT(str_of(text)) : VNULL;
}

static enum err_code add_rows(struct ctx *cx, struct db *db, void *arg)
{
    const struct egress_log *log = arg;
    enum err_code e = ERR_NONE;
    db_scope_system(db); /* rows of several teams */
    for (size_t i = 0; i < log->batch && !e; i++) {
        const struct row *r = &log->rows[(log->first + i) % (size_t)log->conf.rows_max];
        e = db_run(cx, db, SQL_ADD,
                   ARGS(VT(str_of(r->team)), VT(str_of(r->id)), text_or_null(r->integration),
                        text_or_null(r->user), VT(str_of(r->method)), VT(str_of(r->endpoint)),
                        VI_OR_NULL(r->status, r->status), VI(r->success),
                        VT(str_of(egress_class_word(r->class))), text_or_null(r->error),
                        VI(r->duration_ms), VI(r->sent), VI(r->got), VI(r->redirects),
                        VI(r->at_ms)));
    }
    return e;
}

static void release(struct egress_log *log, bool is_stored)
{
    pthread_mutex_lock(&log->lock);
    log->first = (log->first + log->batch) % (size_t)log->conf.rows_max;
    log->n -= log->batch;
    *(is_stored ? &log->stored : &log->dropped) += (int64_t)log->batch;
    pthread_mutex_unlock(&log->lock);
    log->batch = 0;
}

/* With the lock held. */
static void wait_us(struct egress_log *log, int64_t us)
{
    int64_t end = clock_mono_us() + us;
    struct timespec at = { .tv_sec = (time_t)(end / 1000000),
                           .tv_nsec = (long)(end % 1000000) * 1000 };
    pthread_cond_timedwait(&log->wake, &log->lock, &at);
}

/* Again until it is stored; what is refused too often is given up, so that it holds up no others. */
static void write_batch(struct egress_log *log, int64_t until_us)
{
    for (int tries = 0; log->batch; tries++) {
        struct ctx cx;
        ctx_init(&cx, CTX_CAP_DEFAULT);
        enum err_code e = store_tx(&cx, log->conf.store, add_rows, log);
        if (!e) {
            release(log, true);
        } else if (tries >= TRIES_MAX || (until_us && clock_mono_us() > until_us)) {
            log_error(NULL, "egress_log.rows_refused", KVI("rows", (int64_t)log->batch),
                      KVS("why", cx.err_text));
            release(log, false);
        } else {
            pthread_mutex_lock(&log->lock);
            if (!log->is_stopping)
                wait_us(log, RETRY_US);
            pthread_mutex_unlock(&log->lock);
        }
        ctx_done(&cx);
    }
}

/* ---- retention ---- */

struct sweep {
    int64_t before_ms;
    size_t gone;
};

static enum err_code sweep_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct sweep *s = arg;
    struct list gone;
    db_scope_system(db);
    enum err_code e =
        db_list(cx, db, &rec_num, SQL_SWEEP, ARGS(VI(s->before_ms), VI(SWEEP_ROWS)), &gone);
    s->gone = e ? 0 : gone.n;
    return e;
}

enum err_code egress_log_sweep(struct ctx *cx, struct store *store, int64_t days)
{
    struct sweep s = { .before_ms = clock_ms() - days * DAY_MS };
    enum err_code e;
    do {
        struct ctx step;
        ctx_init(&step, CTX_CAP_DEFAULT);
        e = store_tx(&step, store, sweep_unit, &s);
        if (e)
            ctx_fail(cx, e, STR_FMT, STR_ARG(step.err_text));
        ctx_done(&step);
    } while (!e && s.gone == SWEEP_ROWS && ctx_ok(cx));
    return e ? e : cx->err;
}

/* ---- the thread ---- */

static void *log_main(void *arg)
{
    struct egress_log *log = arg;
    bool is_stopping = false;
    int64_t until_us = 0;
    while (!is_stopping || log->batch) {
        pthread_mutex_lock(&log->lock);
        if (!log->is_stopping && !log->n)
            wait_us(log, IDLE_US);
        if (!log->is_stopping && log->n && log->n < BATCH_MAX)
            wait_us(log, GATHER_US);
        is_stopping = log->is_stopping;
        log->batch = log->n < BATCH_MAX ? log->n : BATCH_MAX;
        pthread_mutex_unlock(&log->lock);
        if (is_stopping && !until_us)
            until_us = clock_mono_us() + DRAIN_US;
        write_batch(log, until_us);
        if (is_stopping) { /* more than one batch may wait */
            pthread_mutex_lock(&log->lock);
            is_stopping = log->n == 0;
            pthread_mutex_unlock(&log->lock);
        }
    }
    return NULL;
}

enum err_code egress_log_start(struct ctx *cx, const struct egress_log_conf *conf,
                               struct egress_log **out)
{
    struct egress_log *log = calloc(1, sizeof *log);
    pthread_condattr_t attr;
    size_t rows = conf->rows_max ? (size_t)conf->rows_max : ROWS_DEFAULT;
    BUG_IF(!log);
    log->rows = calloc(rows, sizeof *log->rows); /* memory is used when a row is */
    BUG_IF(!log->rows);
    log->conf = *conf;
    log->conf.rows_max = (int64_t)rows;
    BUG_IF(pthread_mutex_init(&log->lock, NULL) || pthread_condattr_init(&attr) ||
           pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) ||
           pthread_cond_init(&log->wake, &attr));
    pthread_condattr_destroy(&attr);
    if (pthread_create(&log->thread, NULL, log_main, log)) {
        free(log->rows);
        free(log);
        return fail(cx, UNAVAILABLE, "no thread for the log of requests");
    }
    *out = log;
    return ERR_NONE;
}

void egress_log_stop(struct egress_log *log)
{
    if (!log)
        return;
    pthread_mutex_lock(&log->lock);
    log->is_stopping = true;
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->lock);
    pthread_join(log->thread, NULL);
    if (log->dropped)
        log_warn(NULL, "egress_log.dropped", KVI("rows", log->dropped));
    pthread_cond_destroy(&log->wake);
    pthread_mutex_destroy(&log->lock);
    free(log->rows);
    free(log);
}

/* ---- reading ---- */

#define AT(member) offsetof(struct request_log, member)
/* clang-format off */
static const struct field row_fields[] = {
    { .name = "id", .type = F_UUID, .offset = AT(id), .doc = "The entry" },
    { .name = "integration_id", .type = F_STR, .offset = AT(integration_id), .flags = F_NULLABLE,
      .doc = "The integration that called; null when none did" },
    { .name = "user_id", .type = F_STR, .offset = AT(user_id), .flags = F_NULLABLE,
      .doc = "Who made the call happen; null when the server did by itself" },
    { .name = "method", .type = F_STR, .offset = AT(method), .doc = "HTTP method",
      .example = "\"POST\"" },
    { .name = "endpoint", .type = F_STR, .offset = AT(endpoint),
      .doc = "Address of the last request; values of query parameters and secret path segments "
             "are masked; empty when the address was not valid",
      .example = "\"https://api.example.com/v1/items?page=***\"" },
    { .name = "status", .type = F_INT, .offset = AT(status), .flags = F_NULLABLE,
      .doc = "HTTP status of the answer; null when there was none", .example = "200" },
    { .name = "success", .type = F_BOOL, .offset = AT(success),
      .doc = "Whether the answer was complete and its status 2xx" },
    { .name = "outcome", .type = F_ENUM, .offset = AT(outcome), .words = egress_class_words,
      .doc = "How the call ended: ok is an answer of any status" },
    { .name = "error", .type = F_STR, .offset = AT(error), .flags = F_NULLABLE,
      .doc = "Why there is no whole answer" },
    { .name = "duration_ms", .type = F_INT, .offset = AT(duration_ms),
      .doc = "From the ask to the end, waiting in line and redirects included" },
    { .name = "sent_bytes", .type = F_INT, .offset = AT(sent_bytes), .doc = "Bytes of the body sent" },
    { .name = "got_bytes", .type = F_INT, .offset = AT(got_bytes),
      .doc = "Bytes of the body received" },
    { .name = "redirects", .type = F_INT, .offset = AT(redirects), .doc = "Redirects followed" },
    { .name = "at", .type = F_TIME, .offset = AT(at_ms), .doc = "When the call was asked for" },
};
const struct rec rec_request_log =
    REC("RequestLog", struct request_log, row_fields, "A request to another system.");

#define Q(member) offsetof(struct request_log_query, member)
static const struct field query_fields[] = {
    { .name = "integration_id", .type = F_UUID, .offset = Q(integration_id),
      .doc = "Only calls of this integration" },
    { .name = "user_id", .type = F_UUID, .offset = Q(user_id),
      .doc = "Only calls that this user made happen" },
    { .name = "method", .type = F_STR, .offset = Q(method), .min = 1, .max = 16,
      .doc = "Only calls with this HTTP method" },
    { .name = "status", .type = F_INT, .offset = Q(status), .min = 100, .max = 599,
      .doc = "Only answers of this status" },
    { .name = "success", .type = F_BOOL, .offset = Q(success),
      .doc = "Only calls that succeeded, or only those that did not" },
    { .name = "outcome", .type = F_ENUMS, .offset = Q(outcome), .words = egress_class_words,
      .doc = "Only calls that ended so (comma separated)" },
    { .name = "from", .type = F_TIME, .offset = Q(from), .doc = "Asked for at this time or later" },
    { .name = "to", .type = F_TIME, .offset = Q(to), .doc = "Asked for before this time" },
    LISTING_QUERY_ROWS(struct request_log_query),
};
/* clang-format on */
const struct rec rec_request_log_query =
    REC("RequestLogQuery", struct request_log_query, query_fields, "Filters of the request log.");

enum err_code request_log_list(struct ctx *cx, struct db *db, const struct caller *who,
                               const struct request_log_query *in, struct cursor_key key,
                               struct page *out)
{
    struct listing l;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    if (REC_HAS(in, integration_id))
        listing_and(&l, " AND integration_id = ", VT(in->integration_id), "");
    if (REC_HAS(in, user_id))
        listing_and(&l, " AND user_id = ", VT(in->user_id), "");
    if (REC_HAS(in, method))
        listing_and(&l, " AND method = ", VT(in->method), "");
    if (REC_HAS(in, status))
        listing_and(&l, " AND status = ", VI(in->status), "");
    if (REC_HAS(in, success))
        listing_and(&l, " AND success = ", VI(in->success), "");
    if (REC_HAS(in, outcome))
        listing_words(&l, "outcome", in->outcome);
    if (REC_HAS(in, from))
        listing_and(&l, " AND at_ms >= ", VI(in->from), "");
    if (REC_HAS(in, to))
        listing_and(&l, " AND at_ms < ", VI(in->to), "");
    struct listing_from from = {
        .r = &rec_request_log,
        .kind = "request-logs",
        .columns = "id, integration_id, user_id, method, endpoint, status, success, outcome, "
                   "error, duration_ms, sent_bytes, got_bytes, redirects, at_ms AS at",
        .table = "integration_request_log",
        .id = "id",
        .is_down = true,
        .id_at = AT(id),
    };
    struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    return listing_page(&l, db, &from, &ask, out);
}
