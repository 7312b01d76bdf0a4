/* What the tests of the token directory share: a directory on a migrated SQLite store, changes of
 * tokens, questions. The clock stands half past an hour, so that no test crosses its end by
 * chance. */
#ifndef TESSERA_TESTS_TOKEN_DIR_STORE_H
#define TESSERA_TESTS_TOKEN_DIR_STORE_H

#include "base/clock.h"
#include "base/fault.h"
#include "core/token_dir.h"
#include "sqlite_store.h"

static struct store *store;
static struct token_dir *dir;
static struct ctx cx; /* of one test */
static struct caller who;
static struct limit_state limit;

static inline void clock_to(int64_t ms_in_hour)
{
    clock_shift_ms(0);
    int64_t now = clock_ms();
    clock_shift_ms(now / HOUR_MS * HOUR_MS + ms_in_hour - now);
}

static inline int setup(void **state)
{
    int applied;
    store_setup(state);
    store = ((struct fix *)*state)->s;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    clock_to(HOUR_MS / 2);
    assert_int_equal(store_migrate(&cx, store, &applied), ERR_NONE);
    assert_int_equal(token_dir_open(&cx, store, 0, &dir), ERR_NONE);
    return 0;
}

static inline int teardown(void **state)
{
    fault_setup(NULL);
    token_dir_close(dir);
    ctx_done(&cx);
    clock_shift_ms(0);
    return store_teardown(state);
}

/* ---- changes ---- */

enum verb { CREATE, ENABLE, DISABLE, REGENERATE, DELETE };
struct change {
    enum verb verb;
    struct str id;
    const struct token_new *in;
    int64_t grace_ms;
    struct token out;
};

static inline enum err_code run_change(struct ctx *c, struct db *db, void *arg)
{
    struct change *k = arg;
    struct str team = STR(TEAM_DEFAULT);
    switch (k->verb) {
    case CREATE: return token_create(c, db, team, k->in, &k->out);
    case ENABLE: return token_set_enabled(c, db, team, k->id, true, &k->out);
    case DISABLE: return token_set_enabled(c, db, team, k->id, false, &k->out);
    case REGENERATE: return token_regenerate(c, db, team, k->id, k->grace_ms, &k->out);
    case DELETE: return token_delete(c, db, team, k->id);
    }
    return ERR_INTERNAL;
}

static inline struct token changed(struct change k)
{
    assert_int_equal(store_tx(&cx, store, run_change, &k), ERR_NONE);
    return k.out;
}

static inline void refresh(void)
{
    assert_int_equal(token_dir_refresh(&cx, dir), ERR_NONE);
}

static inline struct token made(struct token_new in)
{
    in.name = in.name.p ? in.name : STR("t");
    if (in.rate_limit)
        REC_SET(&in, rate_limit);
    if (in.expires_ms)
        REC_SET(&in, expires_ms);
    struct token t = changed((struct change){ .verb = CREATE, .in = &in });
    refresh();
    return t;
}

/* ---- questions ---- */

static inline struct auth_query query(struct str secret)
{
    struct auth_query q = {
        .secret = secret,
        .method = "GET",
        .route_path = "/v1/tickets/{id}",
        .path = STR("/v1/tickets/1"),
        .need = SCOPE(TICKETS_READ),
        .is_counted = true,
    };
    assert_true(ip_parse(STR("192.0.2.7"), &q.ip));
    return q;
}

static inline enum err_code asked(struct auth_query q)
{
    ctx_clear(&cx);
    enum err_code e = token_dir_auth(&cx, dir, &q, &who, &limit);
    assert_int_equal(e, cx.err);
    return e;
}

static inline enum err_code ask(struct str secret)
{
    return asked(query(secret));
}

#endif
