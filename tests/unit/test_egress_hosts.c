/* Hosts that hang, drip, flood, end early or fail: each ends within its bounds and delays nobody
 * else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "egress_fix.h"

/* ---- bad hosts ---- */

static void test_a_host_that_hangs_or_drips_ends_at_the_deadline(void **state)
{
    static const char *const paths[] = { "/hang", "/drip" };
    struct egress_fix *f = *state;
    for (int i = 0; i < 2; i++) {
        struct egress_answer a = eg_ask(
            f, &(struct egress_ask){
                   .method = "GET", .url = eg_url(f, "127.0.0.1", paths[i]), .total_ms = 300 });
        assert_int_equal(a.class, EGRESS_TIMEOUT);
        assert_true(a.duration_ms >= 290 && a.duration_ms < 5000);
    }
}

static void test_a_large_answer_is_refused_or_cut(void **state)
{
    static const char *const paths[] = { "/huge", "/endless" };
    struct egress_fix *f = *state;
    for (int i = 0; i < 2; i++) {
        struct egress_ask a = { .method = "GET", .answer_max = 20000 };
        a.url = eg_url(f, "127.0.0.1", paths[i]);
        assert_int_equal(eg_ask(f, &a).class, EGRESS_TOO_LARGE);
        a.is_cut = true;
        struct egress_answer cut = eg_ask(f, &a);
        assert_int_equal(cut.class, EGRESS_OK);
        assert_true(cut.is_cut && cut.body.n == 20000 && cut.status == 200);
    }
    assert_int_equal(eg_get(f, "/heads").class, EGRESS_TOO_LARGE);
}

static void test_a_host_that_ends_early(void **state)
{
    struct egress_fix *f = *state;
    struct egress_answer a = eg_get(f, "/early");
    assert_int_equal(a.class, EGRESS_BROKEN);
    assert_int_equal(a.status, 200);
    assert_int_equal(eg_get(f, "/shut").class, EGRESS_BROKEN);
}

static void test_a_port_where_nobody_listens(void **state)
{
    struct egress_fix *f = *state;
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* bound, so that nobody else gets it */
    assert_int_equal(bind(fd, (void *)&in, sizeof in), 0);
    assert_int_equal(getsockname(fd, (void *)&in, &len), 0);
    struct str url = str_printf(&f->cx.arena, "http://127.0.0.1:%d/", ntohs(in.sin_port));
    assert_int_equal(eg_ask(f, &(struct egress_ask){ .method = "GET", .url = url }).class,
                     EGRESS_CONNECT);
    url = str_printf(&f->cx.arena, "https://127.0.0.1:%d/", f->peer.port); /* speaks no TLS */
    assert_int_equal(eg_ask(f, &(struct egress_ask){ .method = "GET", .url = url }).class,
                     EGRESS_TLS);
    close(fd);
}

/* ---- many calls ---- */

static void test_places_at_a_host_grow_and_are_bounded(void **state)
{
    struct egress_fix *f = *state;
    struct many m = { .n = { 0 } };
    sem_init(&m.done, 0, 0);
    eg_open(f, (struct egress_conf){ .allow = STR("127.0.0.1"), .host_running_max = 6 });
    many_start(f, &m, "/ok", 300);
    many_wait(&m, 300);
    assert_int_equal(atomic_load(&m.n[EGRESS_OK]), 300);
    assert_true(atomic_load(&f->peer.most) <= 6);
}

static void test_a_hanging_host_delays_nobody_else(void **state)
{
    struct egress_fix *f = *state;
    struct peer other;
    struct many hung = { .n = { 0 } };
    sem_init(&hung.done, 0, 0);
    peer_start(&other, "127.0.0.2");
    many_start(f, &hung, "/hang", 100);
    for (int i = 0; i < 20; i++) {
        struct egress_ask a = { .method = "GET", .total_ms = 5000 };
        a.url = str_printf(&f->cx.arena, "http://127.0.0.2:%d/ok", other.port);
        struct egress_answer out = eg_ask(f, &a);
        assert_int_equal(out.class, EGRESS_OK);
        assert_true(out.duration_ms < 2000);
    }
    assert_true(atomic_load(&f->peer.most) <= 4); /* nobody has seen it work */
    egress_close(f->eg);                          /* and a stop waits for none of them */
    f->eg = NULL;
    many_wait(&hung, 100);
    assert_int_equal(atomic_load(&hung.n[EGRESS_STOPPED]), 100);
    peer_stop(&other);
}

static void test_a_name_server_that_hangs_delays_nobody_else(void **state)
{
    struct egress_fix *f = *state;
    struct egress_ask stuck = { .method = "GET", .total_ms = 300 };
    atomic_store(&f->is_stuck, 1);
    eg_answers(f, "127.0.0.1");
    stuck.url = eg_url(f, "stuck.example", "/ok");
    struct many m = { .n = { 0 } };
    sem_init(&m.done, 0, 0);
    for (int i = 0; i < 3; i++)
        egress_start(f->eg, &stuck, many_done, &m);

    assert_int_equal(eg_get_of(f, "well.example", "/ok").class, EGRESS_OK);
    assert_int_equal(eg_ask(f, &stuck).class, EGRESS_DNS);
    many_wait(&m, 3);
    assert_int_equal(atomic_load(&m.n[EGRESS_DNS]), 3);
    assert_int_equal(atomic_load(&f->lookups), 2); /* one for all that ask for the same */
    atomic_store(&f->is_stuck, 0);
}

static void test_a_failing_host_rests_and_comes_back(void **state)
{
    struct egress_fix *f = *state;
    struct egress_counts c;
    struct egress_answer a;
    int64_t end = clock_mono_us() + WAIT_S * INT64_C(1000000);
    atomic_store(&f->peer.fails, 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(eg_get(f, "/fail").class, EGRESS_BROKEN);
    int before = atomic_load(&f->peer.requests);
    a = eg_get(f, "/ok");
    assert_int_equal(a.class, EGRESS_RESTING);
    assert_true(a.try_again_ms > 0 && a.try_again_ms <= 121);
    assert_int_equal(atomic_load(&f->peer.requests), before);
    assert_int_equal(egress_check_url(&f->cx, f->eg, eg_url(f, "127.0.0.1", "/")), ERR_NONE);
    egress_counts(f->eg, &c);
    assert_int_equal(c.hosts_resting, 1);

    atomic_store(&f->peer.fails, 0);
    while ((a = eg_get(f, "/fail")).class == EGRESS_RESTING && clock_mono_us() < end)
        assert_int_equal(a.status, 0);
    assert_int_equal(a.class, EGRESS_OK);
    assert_int_equal(eg_get(f, "/fail").class, EGRESS_OK);
}

static void test_lost_sends_and_lost_answers(void **state)
{
    struct egress_fix *f = *state;
    fault_arm(FAULT_EGRESS, 1);
    assert_int_equal(eg_get(f, "/ok").class, EGRESS_BROKEN);
    assert_int_equal(atomic_load(&f->peer.requests), 0);
    fault_arm(FAULT_ANSWER, 1);
    assert_int_equal(eg_get(f, "/ok").class, EGRESS_BROKEN);
    assert_int_equal(atomic_load(&f->peer.requests), 1);
    fault_setup(NULL);
    assert_int_equal(eg_get(f, "/ok").class, EGRESS_OK);
}

static void test_statuses_never_make_a_host_rest(void **state)
{
    struct egress_fix *f = *state;
    for (int i = 0; i < 12; i++)
        assert_int_equal(eg_get(f, "/status/500").class, EGRESS_OK);
}

static void test_those_who_keep_apart_do_not_feel_each_other_at_one_host(void **state)
{
    struct egress_fix *f = *state;
    struct many m = { .n = { 0 } };
    struct egress_ask hang = { .method = "GET",
                               .url = eg_url(f, "127.0.0.1", "/hang"),
                               .total_ms = 1000,
                               .apart = STR("one") };
    struct egress_ask fine = { .method = "GET",
                               .url = eg_url(f, "127.0.0.1", "/ok"),
                               .total_ms = 900,
                               .apart = STR("other") };
    sem_init(&m.done, 0, 0);
    for (int i = 0; i < 30; i++)
        egress_start(f->eg, &hang, many_done, &m);
    assert_int_equal(eg_ask(f, &fine).class, EGRESS_OK);
    many_wait(&m, 30);
    assert_int_equal(atomic_load(&m.n[EGRESS_OK]), 0);
    for (int i = 0; i < 6; i++) {
        hang.total_ms = 20;
        eg_ask(f, &hang);
    }
    assert_int_equal(eg_ask(f, &hang).class, EGRESS_RESTING);
    assert_int_equal(eg_ask(f, &fine).class, EGRESS_OK);
    assert_int_equal(eg_get(f, "/ok").class, EGRESS_OK);
}

static void test_more_calls_than_room_are_told_so(void **state)
{
    struct egress_fix *f = *state;
    struct many m = { .n = { 0 } };
    sem_init(&m.done, 0, 0);
    eg_open(f, (struct egress_conf){ .allow = STR("127.0.0.1"), .calls_max = 10 });
    many_start(f, &m, "/hang", 30);
    many_wait(&m, 20);
    assert_int_equal(atomic_load(&m.n[EGRESS_BUSY]), 20);
    egress_close(f->eg);
    f->eg = NULL;
    many_wait(&m, 10);
}

static void test_a_rate_spreads_calls(void **state)
{
    struct egress_fix *f = *state;
    struct many m = { .n = { 0 } };
    int64_t from = clock_mono_us();
    sem_init(&m.done, 0, 0);
    eg_open(f, (struct egress_conf){ .allow = STR("127.0.0.1"), .host_rate = 20 });
    many_start(f, &m, "/ok", 30); /* 20 at once, 10 more at 20 a second */
    many_wait(&m, 30);
    assert_true(clock_mono_us() - from >= 400000);
    assert_int_equal(atomic_load(&m.n[EGRESS_OK]), 30);
}

static void test_a_caller_that_stops_gets_out(void **state)
{
    struct egress_fix *f = *state;
    struct egress_answer out;
    struct egress_ask a = { .method = "GET", .url = eg_url(f, "127.0.0.1", "/hang") };
    int64_t from = clock_mono_us();
    f->cx.deadline_us = from + 200000;
    assert_int_equal(egress_call(&f->cx, f->eg, &a, &out), ERR_UNAVAILABLE);
    assert_true(clock_mono_us() - from < 5000000);
    ctx_clear(&f->cx);
    f->cx.deadline_us = 0;
    atomic_store(&f->stop, 1);
    f->cx.stop = &f->stop;
    assert_int_equal(egress_call(&f->cx, f->eg, &a, &out), ERR_UNAVAILABLE);
    f->cx.stop = NULL;
    ctx_clear(&f->cx);
}

static void test_settings_that_cannot_be_are_named(void **state)
{
    struct egress_fix *f = *state;
    struct egress *none = NULL;
    static const struct {
        struct egress_conf conf;
        const char *name;
    } bad[] = { { { .allow = STR("10.0.0.1/8") }, "egress_allow" },
                { { .proxy = STR("ftp://x") }, "egress_proxy" },
                { { .proxy = STR("just words") }, "egress_proxy" },
                { { .ca_file = STR("/nonexistent/ca.pem") }, "egress_ca_file" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(egress_open(&f->cx, &bad[i].conf, &none), ERR_USAGE);
        assert_true(text_has(f->cx.err_text, bad[i].name));
        ctx_clear(&f->cx);
    }
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_host_that_hangs_or_drips_ends_at_the_deadline),
        T(test_a_large_answer_is_refused_or_cut),
        T(test_a_host_that_ends_early),
        T(test_a_port_where_nobody_listens),
        T(test_places_at_a_host_grow_and_are_bounded),
        T(test_a_hanging_host_delays_nobody_else),
        T(test_a_name_server_that_hangs_delays_nobody_else),
        T(test_a_failing_host_rests_and_comes_back),
        T(test_lost_sends_and_lost_answers),
        T(test_statuses_never_make_a_host_rest),
        T(test_those_who_keep_apart_do_not_feel_each_other_at_one_host),
        T(test_more_calls_than_room_are_told_so),
        T(test_a_rate_spreads_calls),
        T(test_a_caller_that_stops_gets_out),
        T(test_settings_that_cannot_be_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
