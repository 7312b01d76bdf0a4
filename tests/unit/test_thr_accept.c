/* The acceptor: hands connections on, stops at its limit and goes on when one closes, lives through
 * a lack of descriptors, and ends while clients still come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "http/accept.h"

#define KEPT_MAX 4096
#define WAIT_MS 10000
#define CLIENTS 3
#define STOPS 40

struct fix {
    struct ctx cx;
    struct acceptor a;
    struct sockaddr_in at;
    atomic_bool refuses, is_over;
    pthread_mutex_t lock; /* guards kept */
    int kept[KEPT_MAX];
    atomic_int n_kept, n_calls;
    in_port_t last_port;
};

static bool keep(void *arg, int fd, const struct sockaddr *from, socklen_t from_len)
{
    struct fix *f = arg;
    assert_int_equal(from_len, sizeof(struct sockaddr_in));
    f->last_port = ((const struct sockaddr_in *)(const void *)from)->sin_port;
    atomic_fetch_add(&f->n_calls, 1);
    if (atomic_load(&f->refuses)) {
        close(fd);
        return false;
    }
    pthread_mutex_lock(&f->lock);
    f->kept[atomic_load(&f->n_kept)] = fd;
    atomic_fetch_add(&f->n_kept, 1);
    pthread_mutex_unlock(&f->lock);
    return true;
}

static void close_one(struct fix *f)
{
    pthread_mutex_lock(&f->lock);
    assert_true(f->n_kept > 0);
    close(f->kept[atomic_fetch_sub(&f->n_kept, 1) - 1]);
    pthread_mutex_unlock(&f->lock);
    acceptor_closed_one(&f->a);
}

static struct fix *start(int64_t max)
{
    struct fix *f = calloc(1, sizeof *f);
    socklen_t len = sizeof f->at;
    ctx_init(&f->cx, CTX_CAP_DEFAULT);
    pthread_mutex_init(&f->lock, NULL);
    f->at =
        (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&f->at, len), 0);
    assert_int_equal(listen(fd, 128), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&f->at, &len), 0);
    f->a = (struct acceptor){ .listen_fd = fd, .max = max, .take = keep, .arg = f };
    assert_int_equal(acceptor_start(&f->cx, &f->a), ERR_NONE);
    return f;
}

static void end(struct fix *f)
{
    acceptor_stop(&f->a);
    while (atomic_load(&f->n_kept))
        close_one(f);
    acceptor_close(&f->a);
    pthread_mutex_destroy(&f->lock);
    ctx_done(&f->cx);
    free(f);
}

/* A connected socket, or -1 with errno. */
static int connect_to(const struct fix *f)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && !connect(fd, (const struct sockaddr *)&f->at, sizeof f->at))
        return fd;
    int why = errno;
    if (fd >= 0)
        close(fd);
    errno = why;
    return -1;
}

/* Polls for a count; there is nothing else to wait on. */
static bool comes_to(atomic_int *count, int want)
{
    for (int i = 0; i < WAIT_MS && atomic_load(count) != want; i++)
        poll(NULL, 0, 1);
    return atomic_load(count) == want;
}

static void test_a_connection_is_handed_on_with_its_address(void **state)
{
    struct fix *f = start(10);
    struct sockaddr_in own;
    socklen_t len = sizeof own;
    char c = 0;
    (void)state;

    int fd = connect_to(f);
    assert_true(comes_to(&f->n_kept, 1));

    getsockname(fd, (struct sockaddr *)&own, &len);
    assert_int_equal(f->last_port, own.sin_port);
    assert_int_equal(send(fd, "x", 1, 0), 1);
    struct pollfd p = { .fd = f->kept[0], .events = POLLIN };
    assert_int_equal(poll(&p, 1, WAIT_MS), 1);
    assert_int_equal(recv(f->kept[0], &c, 1, 0), 1);
    assert_int_equal(recv(f->kept[0], &c, 1, 0), -1);
    assert_int_equal(errno, EAGAIN); /* it does not block */
    close(fd);
    end(f);
}

static void test_at_the_limit_others_wait_until_one_closes(void **state)
{
    struct fix *f = start(2);
    int fds[5];
    (void)state;

    for (int i = 0; i < 5; i++)
        fds[i] = connect_to(f);
    assert_true(comes_to(&f->n_calls, 2));
    for (int n = 3; n <= 5; n++) {
        assert_int_equal(atomic_load(&f->n_calls), n - 1); /* one place, one connection */
        close_one(f);
        assert_true(comes_to(&f->n_calls, n));
        assert_true(comes_to(&f->n_kept, 2));
    }
    for (int i = 0; i < 5; i++)
        close(fds[i]);
    end(f);
}

static void test_what_is_not_kept_takes_no_place(void **state)
{
    struct fix *f = start(2);
    (void)state;

    atomic_store(&f->refuses, true);
    for (int i = 0; i < 6; i++) {
        int fd = connect_to(f);
        char c;
        assert_int_equal(recv(fd, &c, 1, 0), 0);
        close(fd);
    }
    atomic_store(&f->refuses, false);
    int a = connect_to(f), b = connect_to(f);
    assert_true(comes_to(&f->n_kept, 2));
    close(a);
    close(b);
    end(f);
}

static void test_without_descriptors_it_goes_on_when_there_are_some(void **state)
{
    struct fix *f = start(10);
    struct rlimit was;
    (void)state;

    int fds[4] = { connect_to(f) };
    assert_true(comes_to(&f->n_kept, 1));
    for (int i = 1; i < 4; i++)
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    getrlimit(RLIMIT_NOFILE, &was);
    struct rlimit none = { .rlim_cur = 3, .rlim_max = was.rlim_max };
    setrlimit(RLIMIT_NOFILE, &none);
    for (int i = 1; i < 4; i++)
        assert_int_equal(connect(fds[i], (struct sockaddr *)&f->at, sizeof f->at), 0);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    poll(NULL, 0, 300); /* a span in which it must not run in circles */
    getrusage(RUSAGE_SELF, &after);
    assert_true(atomic_load(&f->n_kept) <=
                2); /* accept4 may have taken its number before it waited */
    assert_true(after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw < 50);
    setrlimit(RLIMIT_NOFILE, &was);

    assert_true(comes_to(&f->n_kept, 4));
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    end(f);
}

static void test_after_the_stop_clients_are_refused(void **state)
{
    struct fix *f = start(1);
    (void)state;

    int fd = connect_to(f);
    assert_true(comes_to(&f->n_kept, 1)); /* it waits for room: the stop must wake it too */
    acceptor_stop(&f->a);

    assert_int_equal(connect_to(f), -1);
    assert_int_equal(errno, ECONNREFUSED);
    acceptor_stop(&f->a); /* once is enough */
    close(fd);
    end(f);
}

static void *knock(void *arg)
{
    struct fix *f = arg;
    int fd;
    char c;
    while ((fd = connect_to(f)) >= 0) {
        (void)send(fd, "x", 1, MSG_NOSIGNAL); /* a listener that has gone says so only when asked */
        (void)recv(fd, &c, 1, 0);             /* until it is closed; else the backlog would fill */
        close(fd);
    }
    return NULL;
}

/* In the place of the event threads: connections close while others are accepted. */
static void *sweep(void *arg)
{
    struct fix *f = arg;
    while (!atomic_load(&f->is_over))
        if (atomic_load(&f->n_kept))
            close_one(f);
        else
            poll(NULL, 0, 1);
    return NULL;
}

static void test_it_ends_while_clients_come_and_go(void **state)
{
    (void)state;

    for (int i = 0; i < STOPS; i++) {
        struct fix *f = start(1 + i % 4);
        pthread_t threads[CLIENTS + 1];
        for (int t = 0; t < CLIENTS; t++)
            assert_int_equal(pthread_create(&threads[t], NULL, knock, f), 0);
        assert_int_equal(pthread_create(&threads[CLIENTS], NULL, sweep, f), 0);
        while (atomic_load(&f->n_calls) < 1 + i)
            poll(NULL, 0, 1);
        acceptor_stop(&f->a);
        for (int t = 0; t < CLIENTS; t++)
            pthread_join(threads[t], NULL);
        atomic_store(&f->is_over, true);
        pthread_join(threads[CLIENTS], NULL);

        assert_true(atomic_load(&f->n_kept) <= 1 + i % 4);
        end(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_connection_is_handed_on_with_its_address),
        cmocka_unit_test(test_at_the_limit_others_wait_until_one_closes),
        cmocka_unit_test(test_what_is_not_kept_takes_no_place),
        cmocka_unit_test(test_without_descriptors_it_goes_on_when_there_are_some),
        cmocka_unit_test(test_after_the_stop_clients_are_refused),
        cmocka_unit_test(test_it_ends_while_clients_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
