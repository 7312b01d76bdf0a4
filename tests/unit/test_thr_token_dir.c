/* The token directory under many threads (also run under ThreadSanitizer): readers beside changes,
 * growth and polling, and beside the freeing of what was replaced; an hour's budget is given out exactly once; the wrong-token table counts
 * every one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypt.h"
#include "core/token_face.h"

#define READERS 4
#define BUDGET 2000

static char folder[64];
static struct store *store;
static struct token_dir *dir;
static struct ctx cx; /* of the test's own thread */

static int setup(void **state)
{
    char path[96];
    int applied;
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/tessera-dir.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "sqlite:%s/t.db", folder);
    ctx_init(&cx, CTX_CAP_DEFAULT);
    int64_t now = clock_ms();
    clock_shift_ms(now / HOUR_MS * HOUR_MS + HOUR_MS / 2 - now); /* far from the end of an hour */
    assert_int_equal(
        store_open(&cx, &(struct store_conf){ .database = str_of(path), .queue_max = 100 }, &store),
        ERR_NONE);
    assert_int_equal(store_migrate(&cx, store, &applied), ERR_NONE);
    assert_int_equal(token_dir_open(&cx, store, 1000000, &dir), ERR_NONE);
    assert_int_equal(token_dir_start(&cx, dir), ERR_NONE);
    return 0;
}

static int teardown(void **state)
{
    static const char *const files[] = { "t.db", "t.db-wal", "t.db-shm" };
    char path[96];
    (void)state;
    token_dir_close(dir);
    store_close(store);
    ctx_done(&cx);
    clock_shift_ms(0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
    return 0;
}

/* ---- changes ---- */

struct change {
    enum { CREATE, ENABLE, DISABLE, REGENERATE, UPDATE } verb;
    struct str id, name;
    int64_t rate_limit;
    struct str limits;
    struct token out;
};

static enum err_code run_change(struct ctx *c, struct db *db, void *arg)
{
    struct change *k = arg;
    struct str team = STR(TEAM_DEFAULT);
    struct token_new in = { .name = STR("t"),
                            .rate_limit = k->rate_limit,
                            .limits = k->limits,
                            .allowed_ips = STR("[\"127.0.0.0/8\"]") };
    REC_SET(&in, rate_limit);
    struct token before;
    switch (k->verb) {
    case CREATE: return token_create(c, db, team, &in, &k->out);
    case ENABLE: return token_set_enabled(c, db, team, k->id, true, &k->out);
    case DISABLE: return token_set_enabled(c, db, team, k->id, false, &k->out);
    case REGENERATE: return token_regenerate(c, db, team, k->id, 60000, &k->out);
    case UPDATE:
        in = (struct token_new){ .name = k->name, .limits = k->limits };
        REC_SET(&in, name);
        REC_SET(&in, limits);
        return token_update(c, db, team, k->id, &in, &before, &k->out);
    }
    return ERR_INTERNAL;
}

static struct token changed(struct change k)
{
    assert_int_equal(store_tx(&cx, store, run_change, &k), ERR_NONE);
    assert_int_equal(token_dir_refresh(&cx, dir), ERR_NONE);
    return k.out;
}

/* ---- readers ---- */

struct reader {
    pthread_t thread;
    struct str secret, id;
    atomic_bool *stop;
    int64_t asks; /* 0 = until *stop */
    int64_t by_code[ERR_COUNT], strange;
};

/* Tokens are named t, tt, ttt…, and limits that come and go l, ll, lll…: text of freed memory would
 * not be. */
static bool is_run_of(char c, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != c)
            return false;
    return s.n > 0;
}

static bool is_whole(const struct caller *who, const struct limit_state *l, struct str id)
{
    bool is_fine = str_eq(who->token_id, id) && is_run_of('t', who->token_name) &&
                   who->scopes == SCOPES_DEFAULT &&
                   (!l->limit || str_starts(l->policy, STR("\"hour\";q=")));
    for (size_t i = 0; i < l->n_named; i++)
        is_fine &= l->named[i].limit < 1000000 || is_run_of('l', l->named[i].name);
    return is_fine;
}

static void *read_main(void *arg)
{
    struct reader *r = arg;
    struct ctx c;
    ctx_init(&c, CTX_CAP_DEFAULT);
    for (int64_t i = 0; r->asks ? i < r->asks : !atomic_load(r->stop); i++) {
        struct auth_query q = { .secret = r->secret,
                                .method = "GET",
                                .route_path = "/x",
                                .path = STR("/x"),
                                .need = SCOPE(TICKETS_READ),
                                .is_counted = true };
        struct caller who;
        struct limit_state limit;
        ip_parse(STR("127.0.0.1"), &q.ip);
        r->by_code[token_dir_auth(&c, dir, &q, &who, &limit)]++;
        if (who.team_id.p && !is_whole(&who, &limit, r->id))
            r->strange++;
        ctx_retry(&c);
    }
    ctx_done(&c);
    return NULL;
}

static void start(struct reader *r, struct reader like)
{
    *r = like;
    assert_int_equal(pthread_create(&r->thread, NULL, read_main, r), 0);
}

static void test_a_budget_is_given_out_exactly_once(void **state)
{
    struct token t = changed((struct change){ .verb = CREATE, .rate_limit = BUDGET });
    struct reader r[READERS];
    int64_t passed = 0;
    (void)state;
    for (int i = 0; i < READERS; i++)
        start(&r[i], (struct reader){ .secret = t.token, .id = t.id, .asks = BUDGET });
    for (int i = 0; i < READERS; i++) {
        pthread_join(r[i].thread, NULL);
        passed += r[i].by_code[ERR_NONE];
        assert_int_equal(r[i].by_code[ERR_NONE] + r[i].by_code[ERR_RATE_LIMITED], BUDGET);
        assert_int_equal(r[i].strange, 0);
    }
    assert_int_equal(passed, BUDGET);
}

/* What the key has left: a look that takes nothing. */
static struct limit_state state_of(struct str secret)
{
    struct auth_query q = {
        .secret = secret, .method = "GET", .route_path = "/x", .path = STR("/x")
    };
    struct caller who;
    struct limit_state limit;
    ip_parse(STR("127.0.0.1"), &q.ip);
    assert_int_equal(token_dir_auth(&cx, dir, &q, &who, &limit), ERR_NONE);
    return limit;
}

/* Lower counts from outside change nothing, whoever counts meanwhile. */
static void settle_low(struct str id)
{
    struct window_lengths lengths;
    token_dir_windows(dir, &lengths);
    assert_int_equal(lengths.n, 2);
    for (size_t i = 0; i < 1000; i++) {
        int64_t ms = lengths.ms[i % lengths.n];
        token_dir_settle(dir, id, &(struct token_counts){ ms, clock_ms() / ms, 10, 0 });
    }
}

static void test_named_limits_are_given_out_together_or_not_at_all(void **state)
{
    struct token t = changed((struct change){
        .verb = CREATE,
        .rate_limit = BUDGET,
        .limits = STR("[{\"name\":\"wide\",\"requests\":1800,\"window\":3600000},"
                      "{\"name\":\"tight\",\"requests\":1500,\"window\":86400000}]") });
    struct reader r[READERS];
    int64_t passed = 0;
    (void)state;
    for (int i = 0; i < READERS; i++)
        start(&r[i], (struct reader){ .secret = t.token, .id = t.id, .asks = BUDGET });
    for (int i = 0; i < READERS; i++) {
        changed((struct change){ .verb = ENABLE, .id = t.id }); /* a new face, the same counters */
        pthread_join(r[i].thread, NULL);
        settle_low(t.id);
        passed += r[i].by_code[ERR_NONE];
        assert_int_equal(r[i].by_code[ERR_NONE] + r[i].by_code[ERR_RATE_LIMITED], BUDGET);
        assert_int_equal(r[i].strange, 0);
    }
    assert_int_equal(passed, 1500);

    struct limit_state l = state_of(t.token);
    assert_int_equal(l.remaining, BUDGET - 1500);
    assert_int_equal(l.named[0].remaining, 300);
    assert_int_equal(l.named[1].remaining, 0);
    assert_int_equal(l.violated, LIMIT_NAMED(1));
}

static void test_readers_see_old_or_new_never_a_mixture(void **state)
{
    struct token steady = changed((struct change){ .verb = CREATE, .rate_limit = TOKEN_RATE_MAX });
    struct token moving = changed((struct change){ .verb = CREATE, .rate_limit = TOKEN_RATE_MAX });
    struct reader r[READERS];
    atomic_bool stop = false;
    (void)state;
    for (int i = 0; i < READERS; i++)
        start(&r[i], (struct reader){ .secret = i % 2 ? moving.token : steady.token,
                                      .id = i % 2 ? moving.id : steady.id,
                                      .stop = &stop });

    for (int i = 0; i < 600; i++) { /* enough new tokens that the tables grow */
        changed((struct change){ .verb = CREATE, .rate_limit = 1 });
        if (i % 10 == 0)
            changed((struct change){ .verb = i % 20 ? ENABLE : DISABLE, .id = moving.id });
    }
    changed((struct change){ .verb = REGENERATE,
                             .id = steady.id }); /* with grace: the old secret stays good */
    atomic_store(&stop, true);

    for (int i = 0; i < READERS; i++) {
        pthread_join(r[i].thread, NULL);
        assert_int_equal(r[i].strange, 0);
        assert_true(r[i].by_code[ERR_NONE] > 0);
        for (int e = 1; e < ERR_COUNT; e++)
            assert_true(r[i].by_code[e] == 0 || (i % 2 && e == ERR_INVALID_TOKEN));
    }
    assert_int_equal(token_dir_count(dir), 602);
}

static struct str run_of(char c, int n)
{
    char *p = arena_alloc(&cx.arena, (size_t)n);
    for (int i = 0; i < n; i++)
        p[i] = c;
    return (struct str){ p, (size_t)n };
}

static size_t count_cells(struct str id)
{
    size_t n = 0;
    for (size_t i = 0; i <= dir->by_id->mask; i++) {
        struct entry *en = atomic_load(&dir->by_id->slots[i].entry);
        for (struct window_cell *c = en && str_eq(en->id, id) ? en->windows->cells : NULL; c;
             c = c->next)
            n++;
    }
    return n;
}

static void test_what_a_change_replaced_is_freed_beside_readers(void **state)
{
    struct token t = changed((struct change){ .verb = CREATE, .rate_limit = TOKEN_RATE_MAX });
    struct reader r[READERS];
    atomic_bool stop = false;
    size_t used = 0;
    (void)state;
    for (int i = 0; i < READERS; i++)
        start(&r[i], (struct reader){ .secret = t.token, .id = t.id, .stop = &stop });

    for (int i = 1; i <= 300; i++) { /* a limit of another length and another name each time */
        struct str limits =
            str_printf(&cx.arena, "[{\"name\":\"" STR_FMT "\",\"requests\":1000000,\"window\":%d}]",
                       STR_ARG(run_of('l', 1 + i % 30)), 1000000 + i);
        changed((struct change){
            .verb = UPDATE, .id = t.id, .name = run_of('t', 1 + i % 100), .limits = limits });
        used = used ? used : dir->arena.used;
    }
    atomic_store(&stop, true);

    for (int i = 0; i < READERS; i++) {
        pthread_join(r[i].thread, NULL);
        assert_int_equal(r[i].strange, 0);
        assert_true(r[i].by_code[ERR_NONE] > 0);
    }
    pthread_mutex_lock(&dir->lock);
    assert_int_equal(dir->arena.used, used);
    assert_null(dir->old_faces);
    assert_null(dir->old_cells);
    assert_null(atomic_load(&dir->by_hash)->older);
    assert_int_equal(count_cells(t.id), WINDOW_CELLS_MAX);
    pthread_mutex_unlock(&dir->lock);
}

static void *wrong_main(void *arg)
{
    struct wrong_tokens *w = arg;
    struct ip ip = { { 0 } };
    intptr_t over = 0;
    for (int i = 0; i < 10000; i++) {
        ip.b[0] = (unsigned char)(i % 20);
        over += wrong_note(w, &ip, 0, 1000);
    }
    return (void *)over;
}

static void test_wrong_tokens_are_counted_every_one(void **state)
{
    struct wrong_tokens *w = wrong_open();
    pthread_t threads[READERS];
    intptr_t over = 0;
    void *result;
    (void)state;
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wrong_main, w), 0);
    for (int i = 0; i < READERS; i++) {
        pthread_join(threads[i], &result);
        over += (intptr_t)result;
    }
    wrong_close(w);
    assert_int_equal(over, READERS * 10000 -
                               20 * 1000); /* 2000 for each of 20 addresses, 1000 of them allowed */
}

int main(void)
{
    crypt_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_budget_is_given_out_exactly_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_named_limits_are_given_out_together_or_not_at_all,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_readers_see_old_or_new_never_a_mixture, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_a_change_replaced_is_freed_beside_readers, setup,
                                        teardown),
        cmocka_unit_test(test_wrong_tokens_are_counted_every_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
