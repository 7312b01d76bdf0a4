/* The engine of webhooks under threads: events of many writers arrive, a stop in the middle of it
 * gives back what is under way, the next engine goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/crypt.h"
#include "base/egress.h"
#include "base/log.h"
#include "connect/webhook/webhook_admin.h"
#include "connect/webhook/webhook_engine.h"
#include "core/vault/vault.h"
#include "core_store.h"
#include "http_peer.h"

enum { WRITERS = 4, EACH = 30, ALL = WRITERS * EACH, WAIT_MS = 30000 };
#define MASTER STR("0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0")

static struct peer peer;
static struct egress *egress;
static _Atomic(struct webhooks *) engine;

/* Polls a fact; false when it does not come true in time. */
#define WAIT_FOR(fact)                                                                             \
    __extension__({                                                                                \
        int64_t until = clock_mono_us() + WAIT_MS * (int64_t)1000;                                 \
        while (!(fact) && clock_mono_us() < until)                                                 \
            poll(NULL, 0, 2);                                                                      \
        (fact);                                                                                    \
    })

static void committed(void *arg, int writer, bool is_committed)
{
    (void)arg;
    (void)writer;
    webhooks_committed(atomic_load(&engine), is_committed);
}

static void engine_start(struct fix *f)
{
    const struct egress_conf ec = { .allow = STR("127.0.0.0/8"), .rest_ms = 50 };
    const struct webhooks_conf wc = {
        .store = f->s, .calls = 32, .timeout_ms = 20000, .lease_ms = 60000, .wait_percent = 1
    };
    struct webhooks *w = webhooks_open(&wc);
    assert_int_equal(egress_open(&f->cx, &ec, &egress), ERR_NONE);
    assert_int_equal(webhooks_start(&f->cx, w, egress), ERR_NONE);
    atomic_store(&engine, w);
}

static struct webhooks *engine_stop(void)
{
    struct webhooks *w = atomic_load(&engine);
    webhooks_stop(w);
    egress_close(egress);
    egress = NULL;
    webhooks_flush(w);
    atomic_store(&engine, NULL);
    return w;
}

static int setup(void **state)
{
    static const struct store_hooks hooks = { .after_commit = committed };
    crypt_init();
    log_setup(LOG_ERROR, false);
    core_setup(state);
    struct fix *f = *state;
    assert_int_equal(vault_start(&f->cx, f->s, MASTER, STR_NONE), ERR_NONE);
    assert_int_equal(store_start(&f->cx, f->s, &hooks), ERR_NONE);
    peer_start(&peer, "127.0.0.1");
    engine_start(f);
    return 0;
}

static int teardown(void **state)
{
    struct webhooks *w = engine_stop();
    peer_stop(&peer);
    int failed = store_teardown(state);
    webhooks_close(w);
    vault_stop();
    return failed;
}

struct made {
    const char *path;
    bool is_ordered;
};

static enum err_code webhook_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct made *m = arg;
    struct webhook w;
    struct webhook_new in = { .url = str_printf(&cx->arena, "http://127.0.0.1:%d%s", peer.port,
                                                m->path),
                              .events = STR("[\"*\"]"),
                              .is_ordered = m->is_ordered };
    REC_SET(&in, url);
    REC_SET(&in, events);
    REC_SET(&in, is_ordered);
    caller_scope(db, &alice);
    return webhook_create(cx, db, &alice, &in, &w);
}

static void webhook(struct fix *f, const char *path, bool is_ordered)
{
    struct made m = { path, is_ordered };
    assert_int_equal(store_tx(&f->cx, f->s, webhook_unit, &m), ERR_NONE);
}

static enum err_code event_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct event_new in = { .type = EVENT_TICKET_CREATED,
                                  .subject_id = str_printf(&cx->arena, "s%d", *(int *)arg % 7),
                                  .data = STR("{\"a\":1}") };
    caller_scope(db, &alice);
    return event_emit(cx, db, &alice, &in);
}

struct writer {
    struct store *s;
    int first;
};

static void *writer(void *arg)
{
    const struct writer *w = arg;
    for (int i = w->first; i < w->first + EACH; i++) {
        struct ctx cx;
        int n = i;
        ctx_init(&cx, CTX_CAP_DEFAULT);
        BUG_IF(store_tx(&cx, w->s, event_unit, &n));
        ctx_done(&cx);
    }
    return NULL;
}

static void write_all(struct fix *f)
{
    pthread_t threads[WRITERS];
    struct writer w[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        w[i] = (struct writer){ f->s, i * EACH };
        assert_int_equal(pthread_create(&threads[i], NULL, writer, &w[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
}

#define STATE(state) "SELECT COUNT(*) AS n FROM webhook_delivery WHERE state = '" state "'"
#define UNTRIED "SELECT COUNT(*) AS n FROM webhook_delivery WHERE attempt = 0"

static void test_what_many_threads_write_arrives(void **state)
{
    struct fix *f = *state;
    webhook(f, "/ok", false);
    webhook(f, "/ok", true);
    webhook(f, "/status/500", false);
    write_all(f);
    assert_true(WAIT_FOR(number(f, STATE("delivered")) == 2 * ALL));
    assert_true(WAIT_FOR(number(f, UNTRIED) == 0));
    assert_true(atomic_load(&peer.requests) >= 3 * ALL);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM event WHERE is_new = 1"), 0);
}

static void test_a_stop_gives_back_what_is_under_way_and_the_next_engine_goes_on(void **state)
{
    struct fix *f = *state;
    webhook(f, "/hang", false);
    webhook(f, "/ok", true);
    write_all(f);
    assert_true(WAIT_FOR(number(f, STATE("sending")) > 0));

    struct webhooks *old = engine_stop();

    assert_int_equal(number(f, STATE("sending")), 0);
    assert_true(number(f, STATE("waiting")) >= ALL);
    engine_start(f);
    assert_true(WAIT_FOR(number(f, STATE("delivered")) == ALL));
    assert_true(WAIT_FOR(number(f, STATE("sending")) > 0));
    webhooks_close(old);
}

static void buffer_of(struct buf *b, struct arena *a)
{
    arena_init(a, CTX_CAP_DEFAULT);
    buf_init(b, a, 65536);
}

static void *reader(void *arg)
{
    atomic_int *is_over = arg;
    while (!atomic_load(is_over)) {
        struct arena a;
        struct buf b;
        buffer_of(&b, &a);
        webhooks_metrics(&b, atomic_load(&engine));
        BUG_IF(b.over || !b.n);
        arena_done(&a);
        poll(NULL, 0, 1);
    }
    return NULL;
}

static void test_counters_are_read_while_it_runs(void **state)
{
    struct fix *f = *state;
    atomic_int is_over = 0;
    pthread_t thread;
    webhook(f, "/ok", false);
    assert_int_equal(pthread_create(&thread, NULL, reader, &is_over), 0);
    write_all(f);
    assert_true(WAIT_FOR(number(f, STATE("delivered")) == ALL));
    atomic_store(&is_over, 1);
    pthread_join(thread, NULL);
}

#define TT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TT(test_what_many_threads_write_arrives),
        TT(test_a_stop_gives_back_what_is_under_way_and_the_next_engine_goes_on),
        TT(test_counters_are_read_while_it_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
