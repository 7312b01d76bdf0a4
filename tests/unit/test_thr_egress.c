/* Many threads call, check, give up and count while hosts answer, hang and fail and egress stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "egress_fix.h"

#define THREADS 4
#define ROUNDS 25

static struct egress_fix *fix;
static atomic_int stop, n_ok, n_ended, n_records;

static void on_record(void *arg, const struct egress_record *r)
{
    (void)arg;
    atomic_fetch_add(&n_records, r->duration_ms >= 0);
}

static void on_done(void *arg, const struct egress_answer *a)
{
    (void)a;
    atomic_fetch_add((atomic_int *)arg, 1);
}

static struct egress_answer call(struct ctx *cx, const char *host, const char *path, int64_t ms)
{
    struct egress_answer out;
    struct egress_ask a = { .method = "POST", .body = STR("body"), .total_ms = ms };
    a.url = str_printf(&cx->arena, "http://%s:%d%s", host, fix->peer.port, path);
    (void)egress_call(cx, fix->eg, &a, &out);
    ctx_clear(cx);
    return out;
}

static void *caller(void *arg)
{
    static const char *const paths[] = { "/ok", "/shut", "/early", "/to//ok", "/status/503" };
    struct egress_counts counts;
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct ctx cx;
        ctx_init(&cx, CTX_CAP_DEFAULT);
        struct egress_answer a = call(&cx, "named.example", "/ok", 10000);
        atomic_fetch_add(&n_ok, a.class == EGRESS_OK && text_has(a.body, "hello"));
        call(&cx, "127.0.0.1", paths[i % 5], 10000);
        if (i % 5 == 0)
            call(&cx, "127.0.0.3", "/hang", 20);
        (void)egress_check_url(&cx, fix->eg, STR("http://named.example/"));
        ctx_clear(&cx);
        struct egress_ask ask = { .method = "GET" };
        ask.url = str_printf(&cx.arena, "http://127.0.0.2:%d/hang", fix->peer.port);
        egress_start(fix->eg, &ask, on_done, &n_ended);
        egress_counts(fix->eg, &counts);
        ctx_done(&cx);
    }
    return NULL;
}

/* Waits for a host that never answers, until the flag is set. */
static void *hanger(void *arg)
{
    struct ctx cx;
    (void)arg;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    cx.stop = &stop;
    call(&cx, "hangs.example", "/hang", 60000);
    ctx_done(&cx);
    return NULL;
}

static void test_callers_on_many_threads(void **state)
{
    pthread_t threads[THREADS], hung;
    fix = *state;
    struct egress_conf conf = { .allow = STR("127.0.0.0/8 named.example hangs.example"),
                                .rest_ms = 5,
                                .record = on_record };
    eg_open(fix, conf);
    eg_answers(fix, "127.0.0.1");
    assert_int_equal(pthread_create(&hung, NULL, hanger, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, caller, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&stop, 1);
    pthread_join(hung, NULL);
    egress_close(fix->eg); /* with calls in line and calls that hang */
    fix->eg = NULL;

    assert_int_equal(atomic_load(&n_ok), THREADS * ROUNDS);
    assert_int_equal(atomic_load(&n_ended), THREADS * ROUNDS);
    assert_true(atomic_load(&n_records) >= 3 * THREADS * ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = { T(test_callers_on_many_threads) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
