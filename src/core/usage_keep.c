/* Housekeeping: what makes usage end where it should, in steps of a few milliseconds of writer time
 * each.
 *
 * The thread, what only this node can do or what should not wait. Every second: deleted tokens that
 * ask to be forgotten (rows 'forget:<token id>' of meta, so that a restart or another process does
 * not lose them). Every few seconds: rows into day files (SQLite), streams of nodes that are gone.
 * usage_retain, a job done once for all nodes: old files, partitions, rollups beyond their time; old
 * days become months. A
 * failing step ends its part of the pass; the next pass tries again. usage_forget_mark runs in its
 * caller's unit. */
#include "../base/clock.h"
#include "../base/log.h"
#include "usage_inner.h"

#define TICK_US 1000000
#define MOVE_EVERY 3 /* ticks */
#define STEP_PAUSE_US 5000
#define STEPS_MAX 2000 /* of one kind in one pass */
#define SETTLE_MS 5000 /* counts of a deleted token may still be on their way for so long */
#define FORGET "forget:"

#define KEY "team_id, grain, bucket_ms, token_id, route, class"
#define SQL_OLD_ROLLUPS                                                                            \
    "DELETE FROM usage_rollup WHERE (" KEY ") IN (SELECT " KEY " FROM usage_rollup "               \
    "WHERE team_id = $1 AND grain = $2 AND bucket_ms < $3 LIMIT $4) RETURNING n AS n"
#define SQL_TEAMS "SELECT id AS s FROM team UNION ALL SELECT '' AS s"
#define SQL_FORGET_ROWS                                                                            \
    "DELETE FROM integration_token_usage WHERE token_id = $1 AND id IN (SELECT id FROM "           \
    "integration_token_usage WHERE token_id = $1 AND team_id = $2 LIMIT $3) RETURNING id AS n"
#define SQL_FORGET_ROLLUPS                                                                         \
    "DELETE FROM usage_rollup WHERE (" KEY ") IN (SELECT " KEY " FROM usage_rollup "               \
    "WHERE token_id = $1 AND team_id = $2 LIMIT $3) RETURNING n AS n"
#define SQL_FORGET_LIST                                                                            \
    "SELECT name, value FROM meta WHERE name >= '" FORGET "' AND name < 'forget;' ORDER BY name"
#define SQL_FORGET_DONE "DELETE FROM meta WHERE name = $1 RETURNING 1 AS n"
#define SQL_FORGET_ADD                                                                             \
    "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"

/* ---- steps: one statement in a transaction of its own, told how many rows it took */

struct step {
    const char *sql;
    struct args args;
    struct list gone;
};

static enum err_code step_run(struct ctx *cx, struct db *db, void *arg)
{
    struct step *s = arg;

    db_scope_system(db);
    return db_list(cx, db, &rec_num, s->sql, s->args, &s->gone);
}

/* False when stopping. */
static bool pause_us(struct usage *u, int64_t us)
{
    bool goes_on;

    pthread_mutex_lock(&u->lock);
    if (!u->is_stopping)
        usage_wait(u, &u->wake_keeper, us);
    goes_on = !u->is_stopping;
    pthread_mutex_unlock(&u->lock);
    return goes_on;
}

bool usage_pause(struct usage *u)
{
    return pause_us(u, STEP_PAUSE_US);
}

/* Repeat until it takes less than a step's worth. *n (may be NULL) is added to. */
static enum err_code steps(struct usage *u, const char *sql, struct args args, int64_t *n)
{
    struct step s = { .sql = sql, .args = args };
    enum err_code e;
    int i = 0;

    do {
        struct ctx cx;

        ctx_init(&cx, CTX_CAP_DEFAULT);
        e = usage_tx(&cx, u, step_run, &s);
        if (!e && n)
            *n += (int64_t)s.gone.n;
        ctx_done(&cx);
    } while (!e && s.gone.n == USAGE_STEP_ROWS && ++i < STEPS_MAX && pause_us(u, STEP_PAUSE_US));
    return e;
}

/* ---- rollups beyond their time; grains M and t stay for ever */

static const struct {
    struct str grain;
    int64_t days;
    bool is_folded; /* into months, else dropped: the grains above have them */
} kept[] = { { { "m", 1 }, 7, false }, { { "h", 1 }, 90, false }, { { "d", 1 }, 400, true } };

static enum err_code read_teams(struct ctx *cx, struct db *db, void *arg)
{
    db_scope_system(db);
    return db_list(cx, db, &rec_text, SQL_TEAMS, NO_ARGS, arg);
}

#define COUNTRY_KEY "team_id, grain, bucket_ms, country"
#define SQL_OLD_COUNTRIES                                                                          \
    "DELETE FROM usage_country WHERE (" COUNTRY_KEY ") IN (SELECT " COUNTRY_KEY " FROM "           \
    "usage_country WHERE team_id = $1 AND grain = $2 AND bucket_ms < $3 LIMIT $4) RETURNING n AS n"

static enum err_code rollups_drop_old(struct ctx *cx, struct usage *u, int64_t now_ms)
{
    struct list teams = { 0 };
    enum err_code e = store_read(cx, u->store, read_teams, &teams);

    for (size_t t = 0; t < teams.n && !e && ctx_ok(cx); t++) {
        for (size_t k = 0; k < sizeof kept / sizeof *kept && !e; k++) {
            struct args old = ARGS(VT(((struct rec_text *)teams.v)[t].s), VT(kept[k].grain),
                                   VI(now_ms - kept[k].days * DAY_MS), VI(USAGE_STEP_ROWS));

            if (kept[k].is_folded)
                e = month_fold(cx, u, old.v[0].s, old.v[2].i);
            else
                e = steps(u, SQL_OLD_ROLLUPS, old, NULL);
            if (!e)
                e = steps(u, SQL_OLD_COUNTRIES, old, NULL);
        }
    }
    return e ? ctx_fail_plain(cx, e) : cx->err;
}

/* ---- forgetting */

struct forgotten {
    struct rec_bits bits;
    struct str name, value;
};
static const struct field forgotten_fields[] = {
    { .name = "name", .type = F_STR, .offset = offsetof(struct forgotten, name) },
    { .name = "value", .type = F_STR, .offset = offsetof(struct forgotten, value) },
};
static const struct rec rec_forgotten =
    REC("Forgotten", struct forgotten, forgotten_fields, "A token to forget.");

static enum err_code read_forgotten(struct ctx *cx, struct db *db, void *arg)
{
    return db_list(cx, db, &rec_forgotten, SQL_FORGET_LIST, NO_ARGS, arg);
}

/* value = "<team id> <ms of the wish>" */
static enum err_code forget_one(struct ctx *cx, struct usage *u, const struct forgotten *f,
                                int64_t now_ms)
{
    struct str token = str_sub(f->name, sizeof FORGET - 1, SIZE_MAX);
    struct str since_text = f->value;
    struct str team = str_cut(&since_text, ' ');
    struct args args = ARGS(VT(token), VT(team), VI(USAGE_STEP_ROWS));
    int64_t since_ms = 0, n = 0;
    enum err_code e;

    (void)str_to_i64(since_text, &since_ms);
    e = steps(u, SQL_FORGET_ROWS, args, &n);
    if (!e)
        e = steps(u, SQL_FORGET_ROLLUPS, args, &n);
    if (e || now_ms < since_ms + SETTLE_MS || usage_is_stopping(u))
        return e;
    if (!store_is_postgres(u->store))
        e = day_forget(cx, u, team, token);
    if (!e && n == 0 && !usage_is_stopping(u)) {
        e = steps(u, SQL_FORGET_DONE, ARGS(VT(f->name)), NULL);
        log_info(cx, "usage.forgotten", KVS("token", token));
    }
    return e;
}

static void forget_all(struct ctx *cx, struct usage *u, int64_t now_ms)
{
    struct list all = { 0 };
    enum err_code e = store_read(cx, u->store, read_forgotten, &all);

    for (size_t i = 0; i < all.n && !e; i++)
        e = forget_one(cx, u, &((struct forgotten *)all.v)[i], now_ms);
}

enum err_code usage_forget_mark(struct ctx *cx, struct db *db, struct str team_id,
                                struct str token_id)
{
    struct str name = str_printf(&cx->arena, FORGET STR_FMT, STR_ARG(token_id));
    struct str value =
        str_printf(&cx->arena, STR_FMT " %lld", STR_ARG(team_id), (long long)clock_ms());

    return db_run(cx, db, SQL_FORGET_ADD, ARGS(VT(name), VT(value)));
}

/* ---- passes */

/* Small steps with pauses of four times their length between them: the writer's clients come first. Under a long load the
 * main file grows, and shrinks again when there is time. */
static void move_all(struct usage *u, int64_t now_ms)
{
    struct ctx cx;
    int64_t excess = 0, left = USAGE_PASS_ROWS;
    size_t moved = 0;

    ctx_init(&cx, CTX_CAP_DEFAULT);
    enum err_code e = day_crowd(&cx, u, &excess);
    ctx_done(&cx);
    while (!e) {
        int64_t start_us = clock_mono_us();

        ctx_init(&cx, CTX_CAP_DEFAULT);
        e = day_move(&cx, u, now_ms, excess > 0, &moved);
        ctx_done(&cx);
        excess -= (int64_t)moved;
        left -= (int64_t)moved;
        if (!moved || left <= 0 || !pause_us(u, STEP_PAUSE_US + 4 * (clock_mono_us() - start_us)))
            break;
    }
    day_rest(u);
}

static void tick(struct usage *u, int64_t now_ms, bool must_move)
{
    bool is_postgres = store_is_postgres(u->store);
    struct ctx cx;

    ctx_init(&cx, CTX_CAP_DEFAULT);
    forget_all(&cx, u, now_ms);
    if (must_move && !is_postgres)
        move_all(u, now_ms);
    if (must_move && is_postgres &&
        rollup_recover(&cx, u)) /* another node, or our own last run, is gone */
        log_warn(&cx, "usage.recover_failed", KVC("error", err_info(cx.err)->name));
    ctx_done(&cx);
}

enum err_code usage_retain(struct ctx *cx, struct usage *u, int64_t now_ms)
{
    enum err_code e = ERR_NONE;

    if (store_is_postgres(u->store))
        e = part_keep(cx, u, now_ms);
    else
        day_drop_old(cx, u, now_ms);
    return e ? e : rollups_drop_old(cx, u, now_ms);
}

void keep_pass(struct usage *u, int64_t now_ms)
{
    struct ctx cx;

    tick(u, now_ms, true);
    ctx_init(&cx, CTX_CAP_DEFAULT);
    (void)usage_retain(&cx, u, now_ms);
    ctx_done(&cx);
}

void *keeper_main(void *arg)
{
    struct usage *u = arg;

    for (int64_t i = 1; pause_us(u, TICK_US); i++)
        tick(u, clock_ms(), i % MOVE_EVERY == 0);
    return NULL;
}
