/* The newest rows by filter: the table, and on SQLite the day files behind it, merged in the order
 * of (created_ms, id).
 *
 * The main file is read first: a row that moves meanwhile is seen there, in its day file or in
 * both, never in neither; the same id twice is one row. A day file holds no row of a later day; of
 * the day before it may hold some (requests that took until after midnight), hence one day of slack
 * where files are left out. May block; any thread. */
#include "usage_export.h"

#include <string.h>

#include "../base/clock.h"
#include "listing.h"
#include "usage_inner.h"

#define SELECT                                                                                     \
    "SELECT id, token_id, endpoint, method, status_code, response_time_us, ip_address, "           \
    "user_agent, request_payload, error_message, created_ms AS created_at, country "               \
    "FROM integration_token_usage"
/* || '' keeps both databases to the index of the key, whose rows are fewer than its team's. */
#define OF_TEAM " WHERE team_id = "
#define OF_KEY " WHERE team_id || '' = "

static const struct field row_fields[] = {
    { .name = "id", .type = F_INT, .offset = offsetof(struct usage_row, id) },
    { .name = "token_id", .type = F_STR, .offset = offsetof(struct usage_row, token_id) },
    { .name = "endpoint", .type = F_STR, .offset = offsetof(struct usage_row, endpoint) },
    { .name = "method", .type = F_STR, .offset = offsetof(struct usage_row, method) },
    { .name = "status_code", .type = F_INT, .offset = offsetof(struct usage_row, status_code) },
    { .name = "response_time_us",
      .type = F_INT,
      .offset = offsetof(struct usage_row, response_time_us) },
    { .name = "ip_address", .type = F_STR, .offset = offsetof(struct usage_row, ip_address) },
    { .name = "user_agent", .type = F_STR, .offset = offsetof(struct usage_row, user_agent) },
    { .name = "request_payload",
      .type = F_STR,
      .offset = offsetof(struct usage_row, request_payload) },
    { .name = "error_message", .type = F_STR, .offset = offsetof(struct usage_row, error_message) },
    { .name = "created_at", .type = F_INT, .offset = offsetof(struct usage_row, created_ms) },
    { .name = "country", .type = F_STR, .offset = offsetof(struct usage_row, country) },
};
const struct rec rec_usage_row = REC("UsageRow", struct usage_row, row_fields, "A stored request.");

struct recent {
    const struct row_ask *ask;
    struct usage_row *rows; /* newest first, at most ask->limit */
    size_t n;
};

/* ---- one source */

static void and_route(struct listing *l, struct str route)
{
    struct str path = route;
    struct str method = str_cut(&path, ' ');

    if (path.p)
        listing_and(l, " AND method = ", VT(method), "");
    listing_and(l, " AND endpoint = ", VT(path.p ? path : route), "");
}

static void and_filters(struct listing *l, const struct row_ask *ask)
{
    const struct usage_filter *f = ask->f;

    if (REC_HAS(f, key_id))
        listing_and(l, " AND token_id = ", VT(f->key_id), "");
    if (REC_HAS(f, route))
        and_route(l, f->route);
    if (REC_HAS(f, method))
        listing_and(l, " AND method = ", VT(f->method), "");
    if (REC_HAS(f, status))
        listing_and(l, " AND status_code = ", VI(f->status), "");
    if (REC_HAS(f, status_class)) {
        int64_t from = (f->status_class.p[0] - '0') * 100;

        listing_and(l, " AND status_code >= ", VI(from), "");
        listing_and(l, " AND status_code < ", VI(from + 100), "");
    }
    if (REC_HAS(f, ip))
        listing_and(l, " AND ip_address = ", VT(f->ip), "");
    if (REC_HAS(f, country))
        listing_and(l, " AND country = ", VT(f->country), "");
    if (REC_HAS(f, from))
        listing_and(l, " AND created_ms >= ", VI(f->from), "");
    /* Behind the first page the last row is the bound: of two, SQLite would seek by the other. */
    if (REC_HAS(f, to) && ask->before_ms >= f->to)
        listing_and(l, " AND created_ms < ", VI(f->to), "");
}

static struct str text_of(struct listing *l, const struct row_ask *ask)
{
    int ms, id;

    listing_init(l, l->cx, REC_HAS(ask->f, key_id) ? OF_KEY : OF_TEAM, VT(ask->team_id));
    and_filters(l, ask);
    if (ask->before_ms != INT64_MAX) {
        ms = listing_bind(l, VI(ask->before_ms));
        id = listing_bind(l, VI(ask->before_id));
        buf_printf(&l->sql, " AND created_ms <= $%d AND (created_ms < $%d OR id < $%d)", ms, ms,
                   id);
    }
    return str_printf(&l->cx->arena, SELECT STR_FMT " ORDER BY created_ms DESC, id DESC LIMIT $%d",
                      STR_ARG(buf_view(&l->sql)), listing_bind(l, VI(ask->limit)));
}

static bool is_newer(const struct usage_row *a, const struct usage_row *b)
{
    return a->created_ms != b->created_ms ? a->created_ms > b->created_ms : a->id > b->id;
}

/* Both are newest first; what is in both counts once; what is beyond the limit falls off. */
static void merge(struct arena *a, struct recent *r, const struct list *got)
{
    const struct usage_row *x = r->rows, *y = got->v;
    const struct usage_row *x_end = x + r->n, *y_end = y + got->n;
    size_t max = (size_t)r->ask->limit;
    struct usage_row *to = arena_alloc(a, max * sizeof *to);

    r->rows = to;
    for (r->n = 0; r->n < max && (x < x_end || y < y_end); r->n++) {
        bool takes_x = y == y_end || (x < x_end && !is_newer(y, x));

        if (takes_x && y < y_end && x->id == y->id)
            y++;
        to[r->n] = takes_x ? *x++ : *y++;
    }
}

static enum err_code read_some(struct ctx *cx, struct db *db, void *arg)
{
    struct recent *r = arg;
    struct listing l = { .cx = cx };
    struct list got;

    db_scope(db, r->ask->team_id, STR(""));
    struct str sql = text_of(&l, r->ask);
    enum err_code e = db_list(cx, db, &rec_usage_row, sql.p, (struct args){ l.args, l.n }, &got);
    if (!e && r->n)
        merge(&cx->arena, r, &got);
    else if (!e)
        *r = (struct recent){ r->ask, got.v, got.n };
    return e;
}

/* ---- day files */

/* Newer than all that is asked for. */
static bool is_after(const struct row_ask *ask, int64_t day)
{
    int64_t slack_ms = (day - 1) * DAY_MS;

    return slack_ms > ask->before_ms || (REC_HAS(ask->f, to) && slack_ms >= ask->f->to);
}

/* Older than all that is asked for, or than what fills the answer already. */
static bool is_before(const struct recent *r, int64_t day)
{
    int64_t end_ms = (day + 1) * DAY_MS;

    return (REC_HAS(r->ask->f, from) && end_ms <= r->ask->f->from) ||
           ((int64_t)r->n == r->ask->limit && r->rows[r->n - 1].created_ms >= end_ms);
}

static enum err_code read_days(struct ctx *cx, struct usage *u, struct recent *r)
{
    struct list days;
    enum err_code e = day_list(cx, u, &days);

    for (size_t i = 0; i < days.n && !e; i++) {
        int64_t day = ((int64_t *)days.v)[i];
        struct store *s;

        if (is_before(r, day))
            break;
        if (is_after(r->ask, day))
            continue;
        e = day_open(cx, u, day, false, &s);
        if (e == ERR_NOT_FOUND) {
            e = ERR_NONE; /* retired meanwhile */
            continue;
        }
        if (e)
            return e;
        e = store_read(cx, s, read_some, r);
        store_close(s);
    }
    return e;
}

enum err_code usage_rows(struct ctx *cx, struct usage *u, const struct row_ask *ask,
                         struct list *out)
{
    struct recent r = { .ask = ask };
    enum err_code e;

    BUG_IF(ask->limit < 1 || ask->limit > USAGE_READ_MAX);
    e = store_read(cx, u->store, read_some, &r);
    if (!e && !store_is_postgres(u->store))
        e = read_days(cx, u, &r);
    if (e)
        return e;
    *out = (struct list){ r.rows, r.n };
    return ERR_NONE;
}
