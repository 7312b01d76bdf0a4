/* Bodies that are files: sent and taken piece by piece, whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "egress_fix.h"

#define LARGE (EGRESS_BODY_MAX + 4097) /* more than a call may hold in memory */

static struct spool *file(struct egress_fix *f)
{
    struct spool *s;
    assert_int_equal(spool_open(&f->cx, STR("/tmp"), &s), ERR_NONE);
    return s;
}

/* A finished file of the peer's bytes. */
static struct spool *file_of(struct egress_fix *f, size_t n)
{
    struct spool *s = file(f);
    unsigned char block[4096];
    for (size_t at = 0; at < n;) {
        size_t some = n - at < sizeof block ? n - at : sizeof block;
        for (size_t i = 0; i < some; i++)
            block[i] = peer_byte(at + i);
        assert_true(spool_add(s, block, some));
        at += some;
    }
    assert_int_equal(spool_done(&f->cx, s), ERR_NONE);
    return s;
}

static struct egress_answer send_file(struct egress_fix *f, const char *path, const struct spool *s,
                                      int redirects)
{
    return eg_ask(f, &(struct egress_ask){ .method = "PUT",
                                           .url = eg_url(f, "127.0.0.1", path),
                                           .body_file = s,
                                           .redirects = redirects,
                                           .total_ms = 20000 });
}

static struct egress_answer get_file(struct egress_fix *f, const char *path, struct spool *to,
                                     int64_t max)
{
    return eg_ask(f, &(struct egress_ask){ .method = "GET",
                                           .url = eg_url(f, "127.0.0.1", path),
                                           .answer_file = to,
                                           .answer_file_max = max,
                                           .answer_max = 400,
                                           .is_cut = true,
                                           .total_ms = 20000 });
}

static void test_a_file_is_sent_whole(void **state)
{
    struct egress_fix *f = *state;
    static const size_t sizes[] = { 0, 1, 65536, LARGE };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct spool *s = file_of(f, sizes[i]);
        char want[32];
        struct egress_answer a = send_file(f, "/count", s, 0);

        snprintf(want, sizeof want, "%zu", sizes[i]);
        assert_int_equal(a.status, 200);
        assert_true(str_eq(a.body, str_of(want)));
        assert_int_equal(f->last.sent, sizes[i]);
        spool_close(s);
    }
    assert_int_equal(atomic_load(&f->peer.connections), 1);
}

static void test_the_request_of_a_file_is_plain(void **state)
{
    struct egress_fix *f = *state;
    struct spool *s = file_of(f, 5);
    struct egress_answer a = send_file(f, "/echo", s, 0);

    assert_true(text_has(a.body, "PUT /echo HTTP/1.1\r\n") &&
                text_has(a.body, "Content-Length: 5\r\n"));
    assert_false(text_has(a.body, "Expect") || text_has(a.body, "Transfer-Encoding"));
    spool_close(s);
}

static void test_a_file_follows_a_redirect_from_its_start(void **state)
{
    struct egress_fix *f = *state;
    struct spool *s = file_of(f, 50000);

    struct egress_answer a = send_file(f, "/keep//count", s, 1);

    assert_true(str_eq(a.body, STR("50000")));
    spool_close(s);
}

static void test_an_answer_goes_to_a_file(void **state)
{
    struct egress_fix *f = *state;
    struct spool *s = file(f), *want = file_of(f, LARGE);
    unsigned char sums[2][32];
    char path[64];
    snprintf(path, sizeof path, "/bytes/%zu", (size_t)LARGE);
    struct egress_answer a = get_file(f, path, s, LARGE);

    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.n, 0);
    assert_int_equal(f->last.got, LARGE);
    assert_int_equal(spool_done(&f->cx, s), ERR_NONE);
    assert_int_equal(spool_size(s), LARGE);
    spool_sha256(s, sums[0]);
    spool_sha256(want, sums[1]);
    assert_memory_equal(sums[0], sums[1], 32);
    spool_close(s);
    spool_close(want);
}

static void test_words_of_another_status_do_not(void **state)
{
    struct egress_fix *f = *state;
    struct spool *s = file(f);
    struct egress_answer a = get_file(f, "/status/404", s, 1000);

    assert_int_equal(a.status, 404);
    assert_true(str_eq(a.body, STR("status")));
    assert_int_equal(spool_size(s), 0);
    spool_close(s);
}

static void test_more_than_the_file_may_hold_is_too_large(void **state)
{
    struct egress_fix *f = *state;
    static const struct {
        const char *path;
        enum egress_class class;
    } cases[] = { { "/bytes/100000", EGRESS_OK },
                  { "/bytes/100001", EGRESS_TOO_LARGE },
                  { "/huge", EGRESS_TOO_LARGE },
                  { "/endless", EGRESS_TOO_LARGE },
                  { "/early", EGRESS_BROKEN } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct spool *s = file(f);
        assert_int_equal(get_file(f, cases[i].path, s, 100000).class, cases[i].class);
        assert_true(spool_size(s) <= 100000);
        spool_close(s);
    }
}

static void test_a_full_disk_is_not_the_fault_of_the_host(void **state)
{
    struct egress_fix *f = *state;
    struct rlimit was, small = { .rlim_cur = 100000 };
    getrlimit(RLIMIT_FSIZE, &was);
    small.rlim_max = was.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    for (int i = 0; i < 7; i++) { /* five failures would let the host rest */
        struct spool *s = file(f);
        setrlimit(RLIMIT_FSIZE, &small);
        struct egress_answer a = get_file(f, "/bytes/1000000", s, 1000000);
        setrlimit(RLIMIT_FSIZE, &was);
        assert_int_equal(a.class, EGRESS_STOPPED);
        assert_int_equal(spool_done(&f->cx, s), ERR_UNAVAILABLE);
        ctx_clear(&f->cx);
        spool_close(s);
    }
    assert_int_equal(eg_get(f, "/ok").class, EGRESS_OK);
}

static void *stop_when_asked(void *arg)
{
    struct egress_fix *f = arg;
    while (atomic_load(&f->peer.requests) < 2)
        poll(NULL, 0, 1);
    atomic_store(&f->stop, 1);
    return NULL;
}

static void test_the_deadline_and_the_stop_hold_for_files(void **state)
{
    struct egress_fix *f = *state;
    struct spool *s = file_of(f, 5000), *to = file(f);
    struct egress_answer out;
    pthread_t stopper;
    struct egress_ask ask = { .method = "PUT",
                              .url = eg_url(f, "127.0.0.1", "/drip"),
                              .body_file = s,
                              .answer_file = to,
                              .answer_file_max = 1000000,
                              .total_ms = 200 };
    assert_int_equal(eg_ask(f, &ask).class, EGRESS_TIMEOUT);

    ask.url = eg_url(f, "127.0.0.1", "/hang");
    ask.total_ms = 20000;
    f->cx.stop = &f->stop;
    assert_int_equal(pthread_create(&stopper, NULL, stop_when_asked, f), 0);
    assert_int_equal(egress_call(&f->cx, f->eg, &ask, &out), ERR_UNAVAILABLE);
    assert_int_equal(out.class, EGRESS_STOPPED);
    pthread_join(stopper, NULL);
    f->cx.stop = NULL;
    ctx_clear(&f->cx);
    spool_close(s);
    spool_close(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_file_is_sent_whole),
        T(test_the_request_of_a_file_is_plain),
        T(test_a_file_follows_a_redirect_from_its_start),
        T(test_an_answer_goes_to_a_file),
        T(test_words_of_another_status_do_not),
        T(test_more_than_the_file_may_hold_is_too_large),
        T(test_a_full_disk_is_not_the_fault_of_the_host),
        T(test_the_deadline_and_the_stop_hold_for_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
