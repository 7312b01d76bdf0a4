/* Old days become months: what has passed its time among the rollups by the day is added to rollups by
 * the month (grain M, UTC), which stay for ever.
 *
 * A step takes rows of one day away and adds them to their months in the same transaction, so that
 * days and months together always hold every request once, wherever a step ends; who reads months
 * adds the days that are still there. Rows of one day have different keys, so no statement meets a
 * row twice. In the job of the retention. */
#include <string.h>

#include "../base/clock.h"
#include "usage_inner.h"

struct day_sum {
    struct rec_bits bits;
    struct str token_id, route;
    int64_t class, n, sum_us;
    int64_t b[HIST_BUCKETS];
};
#define SUM(member)                                                                                \
    {                                                                                              \
        .name = #member, .type = F_INT, .offset = offsetof(struct day_sum, member)                 \
    }
#define BUCKET_FIELD(column, i)                                                                    \
    { .name = #column, .type = F_INT, .offset = offsetof(struct day_sum, b[i]) },
#define NAME(column, i) ", " #column
/* clang-format off */
static const struct field day_sum_fields[] = {
    { .name = "token_id", .type = F_STR, .offset = offsetof(struct day_sum, token_id) },
    { .name = "route", .type = F_STR, .offset = offsetof(struct day_sum, route) },
    SUM(class), SUM(n), SUM(sum_us),
    HIST_COLUMNS(BUCKET_FIELD)
};
/* clang-format on */
_Static_assert(sizeof(struct day_sum) <= 512, "a record is at most 512 bytes");
static const struct rec rec_day_sum =
    REC("UsageDaySum", struct day_sum, day_sum_fields, "Counts of a day.");

#define KEY "team_id, grain, bucket_ms, token_id, route, class"
#define SQL_OLDEST                                                                                 \
    "SELECT bucket_ms AS n FROM usage_rollup WHERE team_id = $1 AND grain = 'd' AND "              \
    "bucket_ms < $2 ORDER BY bucket_ms LIMIT 1"
#define SQL_TAKE                                                                                   \
    "DELETE FROM usage_rollup WHERE (" KEY ") IN (SELECT " KEY " FROM usage_rollup WHERE "         \
    "team_id = $1 AND grain = 'd' AND bucket_ms = $2 LIMIT $3) RETURNING token_id, route, class, " \
    "n, sum_us" HIST_COLUMNS(NAME)

struct fold {
    struct usage *u;
    struct str team_id;
    int64_t before_ms;
    size_t n; /* rows of the step */
};

static enum err_code add(struct ctx *cx, struct db *db, const struct fold *f, int64_t month_ms,
                         const struct list *rows)
{
    struct count *v = ARENA_ARRAY(&cx->arena, struct count, rows->n);
    for (size_t i = 0; i < rows->n; i++) {
        const struct day_sum *d = (const struct day_sum *)rows->v + i;
        struct count *c = &v[i];
        BUG_IF(f->team_id.n > USAGE_ID_MAX || d->token_id.n > USAGE_ID_MAX);
        *c = (struct count){ .grain = 'M',
                             .bucket_ms = month_ms,
                             .endpoint = d->route,
                             .class = (int)d->class,
                             .n = d->n,
                             .sum_us = d->sum_us };
        c->team_n = (unsigned char)f->team_id.n;
        c->token_n = (unsigned char)d->token_id.n;
        if (c->team_n)
            memcpy(c->team, f->team_id.p, c->team_n);
        if (c->token_n)
            memcpy(c->token, d->token_id.p, c->token_n);
        for (int b = 0; b < HIST_BUCKETS; b++)
            c->b[b] = (uint32_t)d->b[b];
    }
    return rollup_add(cx, db, f->u, v, rows->n);
}

static enum err_code fold_step(struct ctx *cx, struct db *db, void *arg)
{
    struct fold *f = arg;
    struct rec_num day;
    struct list rows;
    f->n = 0;
    db_scope_system(db);
    enum err_code e =
        db_one(cx, db, &rec_num, SQL_OLDEST, ARGS(VT(f->team_id), VI(f->before_ms)), &day);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    e = db_list(cx, db, &rec_day_sum, SQL_TAKE,
                ARGS(VT(f->team_id), VI(day.n), VI(USAGE_STEP_ROWS)), &rows);
    f->n = e ? 0 : rows.n;
    return e || !rows.n ? e : add(cx, db, f, time_month(day.n, 0), &rows);
}

enum err_code month_fold(struct ctx *cx, struct usage *u, struct str team_id, int64_t before_ms)
{
    struct fold f = { .u = u, .team_id = team_id, .before_ms = before_ms };
    enum err_code e;
    do {
        struct ctx step;
        ctx_init(&step, CTX_CAP_DEFAULT);
        e = usage_tx(&step, u, fold_step, &f);
        ctx_done(&step);
    } while (!e && f.n && ctx_ok(cx) && usage_pause(u));
    return e;
}
