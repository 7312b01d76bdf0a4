/* Rollups: counts from memory into usage_rollup and usage_country, and the rows that a crash kept out of them.
 *
 * Each minute's count is added to the grains m, h, d and t (for ever; per token without routes), and to the sums of the team
 * (token and route '*'), so that the dashboard reads a handful of rows however many tokens and days there are. Rows are
 * written in the order of the primary key: writers that add to the same rows wait for, but never lock out, each other.
 *
 * Recovery: a stream's mark and its rollups move in one transaction, so the rows above the mark are exactly those that
 * no rollup has; folding advances the mark with what it adds, and may be killed between any two steps. */
#include <stdlib.h>
#include <string.h>

#include "../base/clock.h"
#include "../base/log.h"
#include "usage_inner.h"

#define WIDENED 8 /* entries that one counted minute can become */
#define N_BUCKET_0 8

#define BUCKETS_10(X, t)                                                                           \
    X(t##0) X(t##1) X(t##2) X(t##3) X(t##4) X(t##5) X(t##6) X(t##7) X(t##8) X(t##9)
#define BUCKETS(X) BUCKETS_10(X, b0) BUCKETS_10(X, b1) BUCKETS_10(X, b2) BUCKETS_10(X, b3)
#define COLUMN(name) { #name, false },
#define ADD(name) ", " #name " = usage_rollup." #name " + excluded." #name

static const struct bulk_col columns[] = { { "team_id", true },    { "grain", true },
                                           { "bucket_ms", false }, { "token_id", true },
                                           { "route", true },      { "class", false },
                                           { "n", false },         { "sum_us", false },
                                           BUCKETS(COLUMN) };

#define ON_CONFLICT                                                                                \
    "ON CONFLICT (team_id, grain, bucket_ms, token_id, route, class) DO UPDATE SET "               \
    "n = usage_rollup.n + excluded.n, sum_us = usage_rollup.sum_us + excluded.sum_us" BUCKETS(ADD)

#define SQL_TOKEN                                                                                  \
    "UPDATE integration_tokens SET use_count = use_count + $1, "                                   \
    "last_used_ms = CASE WHEN last_used_ms IS NULL OR last_used_ms < $2 THEN $2 ELSE "             \
    "last_used_ms END "                                                                            \
    "WHERE team_id = $3 AND id = $4"

static const struct bulk_col country_columns[] = { { "team_id", true },    { "grain", true },
                                                   { "bucket_ms", false }, { "country", true },
                                                   { "n", false },         { "errors", false } };

#define COUNTRY_ON_CONFLICT                                                                        \
    "ON CONFLICT (team_id, grain, bucket_ms, country) DO UPDATE SET n = usage_country.n + "        \
    "excluded.n, errors = usage_country.errors + excluded.errors"

void rollup_init(struct usage *u)
{
    bulk_init(&u->rollups, &u->arena, "usage_rollup", columns, sizeof columns / sizeof *columns,
              ON_CONFLICT);
    bulk_init(&u->countries, &u->arena, "usage_country", country_columns,
              sizeof country_columns / sizeof *country_columns, COUNTRY_ON_CONFLICT);
}

static void rollup_row(struct arena *a, const void *arg, size_t i, struct val *v)
{
    const struct count *e = ((const struct count *const *)arg)[i];
    struct str route = e->endpoint;

    if (e->method.n)
        route = str_printf(a, STR_FMT " " STR_FMT, STR_ARG(e->method), STR_ARG(e->endpoint));
    v[0] = VT(((struct str){ e->team, e->team_n }));
    v[1] = VT(((struct str){ &e->grain, 1 }));
    v[2] = VI(e->bucket_ms);
    v[3] = VT(((struct str){ e->token, e->token_n }));
    v[4] = VT(route);
    v[5] = VI(e->class);
    v[6] = VI(e->n);
    v[7] = VI(e->sum_us);
    for (int b = 0; b < HIST_BUCKETS; b++)
        v[N_BUCKET_0 + b] = VI(e->b[b]);
}

static int by_key(const void *a, const void *b)
{
    return count_compare(*(const struct count *const *)a, *(const struct count *const *)b);
}

static const struct count **sorted(struct arena *a, const struct counts *c)
{
    const struct count **list = ARENA_ARRAY(a, const struct count *, c->n);

    for (size_t i = 0; i < c->n; i++)
        list[i] = &c->v[i];
    qsort(list, c->n, sizeof *list, by_key);
    return list;
}

enum err_code rollup_add(struct ctx *cx, struct db *db, struct usage *u, const struct count *v,
                         size_t n)
{
    const struct count **list = ARENA_ARRAY(&cx->arena, const struct count *, n);

    for (size_t i = 0; i < n; i++)
        list[i] = &v[i];
    qsort(list, n, sizeof *list, by_key);
    return bulk_put(cx, db, &u->rollups, n, rollup_row, list);
}

/* Every grain of c, in the order of the key. */
static const struct count **widen(struct arena *a, const struct counts *c, size_t *n)
{
    static const char grains[] = { 'm', 'h', 'd', 't' };
    struct counts wide;

    counts_init(&wide, a, c->n * WIDENED);
    for (size_t i = 0; i < c->n; i++) {
        for (size_t g = 0; g < sizeof grains; g++) {
            counts_widen(&wide, &c->v[i], grains[g], false);
            if (c->v[i].team_n)
                counts_widen(&wide, &c->v[i], grains[g], true);
        }
    }
    *n = wide.n;
    return sorted(a, &wide);
}

static bool same_token(const struct count *a, const struct count *b)
{
    return str_eq((struct str){ a->token, a->token_n }, (struct str){ b->token, b->token_n }) &&
           str_eq((struct str){ a->team, a->team_n }, (struct str){ b->team, b->team_n });
}

/* The entries of grain t stand together, per token. */
static enum err_code tokens_write(struct ctx *cx, struct db *db, const struct count **list,
                                  size_t n)
{
    for (size_t i = 0; i < n;) {
        const struct count *e = list[i];
        struct str token = { e->token, e->token_n };
        int64_t uses = 0, last_ms = 0;
        enum err_code err;

        if (e->grain != 't' || !token.n || str_eq(token, USAGE_TEAM_TOKEN)) {
            i++;
            continue;
        }
        for (; i < n && list[i]->grain == 't' && same_token(e, list[i]); i++) {
            uses += list[i]->n;
            last_ms = list[i]->last_ms > last_ms ? list[i]->last_ms : last_ms;
        }
        err = db_run(
            cx, db, SQL_TOKEN,
            ARGS(VI(uses), VI(last_ms), VT(((struct str){ e->team, e->team_n })), VT(token)));
        if (err)
            return err;
    }
    return ERR_NONE;
}

static void country_row(struct arena *a, const void *arg, size_t i, struct val *v)
{
    const struct count *e = ((const struct count *const *)arg)[i];

    (void)a;
    v[0] = VT(((struct str){ e->team, e->team_n }));
    v[1] = VT(((struct str){ &e->grain, 1 }));
    v[2] = VI(e->bucket_ms);
    v[3] = VT(((struct str){ e->token, e->token_n }));
    v[4] = VI(e->n);
    v[5] = VI(e->errors);
}

static enum err_code countries_write(struct ctx *cx, struct db *db, struct usage *u,
                                     const struct counts *places, struct arena *a)
{
    struct counts wide;
    const struct count **list;

    counts_init(&wide, a, places->n * 2);
    for (size_t i = 0; i < places->n; i++) {
        counts_widen(&wide, &places->v[i], 'h', false);
        counts_widen(&wide, &places->v[i], 'd', false);
    }
    list = sorted(a, &wide);
    return bulk_put(cx, db, &u->countries, wide.n, country_row, list);
}

enum err_code rollup_write(struct ctx *cx, struct db *db, struct usage *u, const struct counts *c,
                           const struct counts *places)
{
    struct arena a;
    size_t n;
    const struct count **list;
    enum err_code e;

    if (!c->n)
        return ERR_NONE;
    arena_init(&a, (size_t)64 << 20);
    list = widen(&a, c, &n);
    e = bulk_put(cx, db, &u->rollups, n, rollup_row, list);
    if (!e)
        e = tokens_write(cx, db, list, n);
    if (!e && places->n)
        e = countries_write(cx, db, u, places, &a);
    arena_done(&a);
    return e;
}

/* ---- recovery */

struct fold {
    struct usage *u;
    int64_t stream;
    bool is_done;
    size_t n; /* rows of this step */
    struct counts counts, places;
    int64_t last_id;
};

#define SQL_CLAIM_STREAM "SELECT mark AS n FROM usage_stream WHERE stream = $1 {claim}"
#define SQL_FOLD_ROWS                                                                              \
    "SELECT " DAY_ROW_COLUMNS                                                                      \
    " FROM integration_token_usage WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3"
#define SQL_MARK "UPDATE usage_stream SET mark = $2 WHERE stream = $1"
#define SQL_DROP_STREAM "DELETE FROM usage_stream WHERE stream = $1"
#define SQL_STREAMS "SELECT stream AS n FROM usage_stream ORDER BY stream"
#define SQL_IS_FREE                                                                                \
    "SELECT CASE WHEN pg_try_advisory_xact_lock(" USAGE_LOCK_CLASS                                 \
    ", CAST($1 AS INTEGER)) THEN 1 ELSE 0 END AS n"

static enum err_code fold_row(struct ctx *cx, void *row, void *arg)
{
    struct fold *f = arg;
    const struct day_row *r = row;
    struct usage_event e = { .at_ms = r->created_ms,
                             .took_us = r->response_time_us,
                             .status = (int)r->status_code,
                             .method = str_cstr(&cx->arena, r->method),
                             .endpoint = str_cstr(&cx->arena, r->endpoint),
                             .team_id = r->team_id,
                             .token_id = r->token_id };

    if (r->country.n < sizeof e.country && r->country.n)
        memcpy(e.country, r->country.p, r->country.n);
    BUG_IF(!counts_event(&f->counts, &e) || !counts_place(&f->places, &e));
    f->last_id = r->id;
    f->n++;
    return ERR_NONE;
}

/* PostgreSQL: no session holds the stream. The lock is ours until the end of the transaction. */
static enum err_code is_abandoned(struct ctx *cx, struct db *db, int64_t stream, bool *is)
{
    struct rec_num got = { .n = 1 };
    enum err_code e = db_is_postgres(db)
                          ? db_one(cx, db, &rec_num, SQL_IS_FREE, ARGS(VI(stream)), &got)
                          : ERR_NONE;

    *is = got.n == 1;
    return e;
}

static enum err_code fold_step(struct ctx *cx, struct db *db, void *arg)
{
    struct fold *f = arg;
    struct rec_num mark;
    bool is_free;
    enum err_code e;
    int64_t base = f->stream << USAGE_STREAM_SHIFT;

    db_scope_system(db);
    f->n = 0;
    f->is_done = true;
    e = is_abandoned(cx, db, f->stream, &is_free);
    if (e || !is_free)
        return e;
    e = db_one(cx, db, &rec_num, SQL_CLAIM_STREAM, ARGS(VI(f->stream)), &mark);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_NONE : e; /* someone else folds it, or has */
    counts_init(&f->counts, &cx->arena, USAGE_FOLD_ROWS);
    counts_init(&f->places, &cx->arena, USAGE_FOLD_ROWS);
    e = db_each(
        cx, db, &rec_day_row, SQL_FOLD_ROWS,
        ARGS(VI(base | mark.n), VI((f->stream + 1) << USAGE_STREAM_SHIFT), VI(USAGE_FOLD_ROWS)),
        fold_row, f);
    if (!e)
        e = rollup_write(cx, db, f->u, &f->counts, &f->places);
    if (e)
        return e;
    f->is_done = f->n < USAGE_FOLD_ROWS;
    if (f->is_done)
        return db_run(cx, db, SQL_DROP_STREAM, ARGS(VI(f->stream)));
    return db_run(cx, db, SQL_MARK, ARGS(VI(f->stream), VI(f->last_id - base)));
}

static enum err_code fold_stream(struct ctx *cx, struct usage *u, int64_t stream)
{
    struct fold f = { .u = u, .stream = stream };
    struct ctx step;
    int64_t folded = 0;
    enum err_code e = ERR_NONE;

    do {
        ctx_init(&step, CTX_CAP_DEFAULT);
        e = usage_tx(&step, u, fold_step, &f);
        ctx_done(&step);
        folded += (int64_t)f.n;
    } while (!e && !f.is_done && !usage_is_stopping(u));
    if (e)
        return ctx_fail_plain(cx, e);
    if (folded)
        log_info(cx, "usage.recovered", KVI("stream", stream), KVI("rows", folded));
    return ERR_NONE;
}

static bool is_ours(const struct usage *u, int64_t stream)
{
    for (int i = 0; i < u->n_streams; i++)
        if (atomic_load(&u->streams[i].number) == stream)
            return true;
    return false;
}

static enum err_code read_streams(struct ctx *cx, struct db *db, void *arg)
{
    return db_list(cx, db, &rec_num, SQL_STREAMS, NO_ARGS, arg);
}

enum err_code rollup_recover(struct ctx *cx, struct usage *u)
{
    struct list seen = { 0 };
    enum err_code e = store_read(cx, u->store, read_streams, &seen);

    for (size_t i = 0; i < seen.n && !e; i++) {
        int64_t stream = ((struct rec_num *)seen.v)[i].n;

        if (!is_ours(u, stream))
            e = fold_stream(cx, u, stream);
    }
    return e;
}
