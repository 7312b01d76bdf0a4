/* The vault under many threads (also run under ThreadSanitizer): more keys than are kept in memory,
 * read by all threads, while others seal and a rotation goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/vault/vault_key.h"
#include "vault_store.h"

#define TEAMS 1200 /* more than VAULT_CACHE_SETS * VAULT_CACHE_WAYS */
#define THREADS 4
#define TURNS 300

struct worker {
    pthread_t thread;
    struct fix *f;
    int number, wrong;
};

static struct str team_name(struct ctx *cx, int n)
{
    return str_printf(&cx->arena, "00000000-0000-7000-8000-%012d", n);
}

static struct vault_place place_of(struct ctx *cx, int n)
{
    return (struct vault_place){ "team_secret", "secret", team_name(cx, n), STR("r") };
}

static enum err_code plant_unit(struct ctx *cx, struct db *db, void *arg)
{
    int from = *(int *)arg;
    enum err_code e = ERR_NONE;
    for (int n = from; n < from + 100 && !e; n++) {
        struct str text = sealed(cx, db, place_of(cx, n), team_name(cx, n));
        e = db_run(cx, db, "INSERT INTO team_secret (team_id, id, secret) VALUES ($1, 'r', $2)",
                   ARGS(VT(team_name(cx, n)), VT(text)));
    }
    return e;
}

struct one {
    int n;
    bool is_right;
};

static enum err_code open_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct one *one = arg;
    struct vault_place at = place_of(cx, one->n);
    struct rec_text row;
    struct str plain;
    enum err_code e =
        db_one(cx, db, &rec_text, "SELECT secret AS s FROM team_secret WHERE team_id = $1",
               ARGS(VT(at.team_id)), &row);
    if (!e)
        e = vault_open(cx, db, &at, row.s, &plain);
    one->is_right = !e && str_eq(plain, at.team_id);
    return e;
}

static enum err_code seal_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct one *one = arg;
    struct vault_place at = place_of(cx, one->n);
    struct str text;
    enum err_code e = vault_seal(cx, db, &at, at.team_id, &text);
    one->is_right = !e;
    return e ? e
             : db_run(cx, db, "UPDATE team_secret SET secret = $2 WHERE team_id = $1",
                      ARGS(VT(at.team_id), VT(text)));
}

static void *work(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < TURNS; i++) {
        struct one one = { .n = (w->number * 7919 + i * 104729) % TEAMS };
        struct ctx cx;
        ctx_init(&cx, CTX_CAP_DEFAULT);
        enum err_code e = i % 10 ? store_read(&cx, w->f->s, open_unit, &one)
                                 : store_tx(&cx, w->f->s, seal_unit, &one);
        w->wrong += e || !one.is_right;
        ctx_done(&cx);
    }
    return NULL;
}

static void rotate_some(struct fix *f)
{
    for (int n = 0; n < 40; n++) {
        struct vault_ask ask = { .team_id = team_name(&f->cx, n * 29), .batch = 10 };
        struct vault_rotated r;
        assert_int_equal(vault_rotate(&f->cx, f->s, &ask, &r), ERR_NONE);
        assert_int_equal(r.quarantined + r.kept, 0);
    }
}

static void test_many_threads_open_and_seal_while_keys_are_rotated(void **state)
{
    struct fix *f = *state;
    struct worker workers[THREADS] = { { .f = NULL } };

    assert_int_equal(store_start(&f->cx, f->s, NULL), ERR_NONE);
    for (int from = 0; from < TEAMS; from += 100)
        assert_int_equal(store_tx(&f->cx, f->s, plant_unit, &from), ERR_NONE);
    vault_cache_clear();
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ .f = f, .number = i };
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    rotate_some(f);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].wrong, 0);
    }
}

/* What is forgotten is the oldest; what is there is the right key. */
static void test_memory_is_bounded_and_never_mixes_keys(void **state)
{
    (void)state;
    struct vault_dek dek = { .id = "" }, got;
    int found = 0;

    vault_cache_clear();
    for (int n = 0; n < 3000; n++) {
        snprintf(dek.id, sizeof dek.id, "%016d", n);
        memcpy(dek.key, &n, sizeof n);
        vault_cache_put(STR("t"), &dek);
        assert_true(vault_cache_get(STR("t"), str_of(dek.id), &got));
        assert_memory_equal(got.key, &n, sizeof n);
        assert_false(vault_cache_get(STR("u"), str_of(dek.id), &got));
    }
    for (int n = 0; n < 3000; n++) {
        snprintf(dek.id, sizeof dek.id, "%016d", n);
        if (!vault_cache_get(STR("t"), str_of(dek.id), &got))
            continue;
        found++;
        assert_memory_equal(got.key, &n, sizeof n);
    }
    assert_in_range(found, 100, VAULT_CACHE_SETS * VAULT_CACHE_WAYS);
    vault_cache_clear();
    assert_false(vault_cache_get(STR("t"), str_of(dek.id), &got));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TV(test_many_threads_open_and_seal_while_keys_are_rotated),
        TV(test_memory_is_bounded_and_never_mixes_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
