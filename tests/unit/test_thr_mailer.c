/* Sending a mail on a thread of one's own: a mail server that never answers holds nobody longer than
 * the ctx lasts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypt.h"
#include "core/people/mail.h"

#define PATIENCE_US ((int64_t)5 * 1000 * 1000)

struct fix {
    struct ctx cx;
    int fd; /* listens, and answers nothing */
    struct mailer *mailer;
    atomic_int stop;
};

static int setup(void **state)
{
    static struct fix f;
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t n = sizeof at;
    f = (struct fix){ .fd = socket(AF_INET, SOCK_STREAM, 0) };
    ctx_init(&f.cx, CTX_CAP_DEFAULT);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(f.fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(f.fd, 8), 0);
    assert_int_equal(getsockname(f.fd, (struct sockaddr *)&at, &n), 0);
    struct mail_conf conf = { .url = str_printf(&f.cx.arena, "smtp://127.0.0.1:%d",
                                                ntohs(at.sin_port)),
                              .from = STR("t@example.org"),
                              .public_url = STR("https://t.example.org") };
    assert_int_equal(mailer_open(&f.cx, &conf, &f.mailer), ERR_NONE);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;
    mailer_close(f->mailer);
    close(f->fd);
    ctx_done(&f->cx);
    return 0;
}

static struct mail hello_to(struct str to)
{
    return (struct mail){ to, STR("Hello"), STR("Body\n") };
}

static void *stop_soon(void *arg)
{
    struct fix *f = arg;
    nanosleep(&(struct timespec){ .tv_nsec = 300 * 1000 * 1000 }, NULL);
    atomic_store(&f->stop, 1);
    return NULL;
}

static void test_a_stop_ends_a_sending(void **state)
{
    struct fix *f = *state;
    pthread_t stopper;
    int64_t began_us = clock_mono_us();
    struct mail hello = hello_to(STR("ann@example.com"));
    f->cx.stop = &f->stop;
    assert_int_equal(pthread_create(&stopper, NULL, stop_soon, f), 0);

    assert_int_equal(mailer_send(&f->cx, f->mailer, &hello, NULL), ERR_UNAVAILABLE);

    assert_true(clock_mono_us() - began_us < PATIENCE_US);
    pthread_join(stopper, NULL);
}

static void test_a_deadline_ends_a_sending(void **state)
{
    struct fix *f = *state;
    int64_t began_us = clock_mono_us();
    struct mail hello = hello_to(STR("ann@example.com"));
    f->cx.deadline_us = began_us + 300 * 1000;

    assert_int_equal(mailer_send(&f->cx, f->mailer, &hello, NULL), ERR_UNAVAILABLE);

    assert_true(clock_mono_us() - began_us < PATIENCE_US);
}

static enum err_code write_hello(struct ctx *cx, const struct mail_order *order, struct mail *out)
{
    (void)cx;
    *out = hello_to(order->to);
    return ERR_NONE;
}

static void test_the_mailer_closes_while_a_mail_is_on_its_way(void **state)
{
    struct fix *f = *state;
    struct mail_order order = { .write = write_hello, .to = STR("ann@example.com") };
    mailer_start(f->mailer);
    assert_true(mailer_post(f->mailer, &order));
    int peer = accept(f->fd, NULL, NULL); /* it is being sent */
    assert_true(peer >= 0);
    int64_t began_us = clock_mono_us();

    mailer_close(f->mailer);

    assert_true(clock_mono_us() - began_us < PATIENCE_US);
    f->mailer = NULL;
    close(peer);
}

static void test_without_a_mail_server_nothing_is_sent(void **state)
{
    struct fix *f = *state;
    struct mail hello = hello_to(STR("ann@example.com"));
    assert_int_equal(mailer_send(&f->cx, NULL, &hello, NULL), ERR_NOT_CONFIGURED);
}

#define TM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    crypt_init();
    const struct CMUnitTest tests[] = {
        TM(test_a_stop_ends_a_sending),
        TM(test_a_deadline_ends_a_sending),
        TM(test_the_mailer_closes_while_a_mail_is_on_its_way),
        TM(test_without_a_mail_server_nothing_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
