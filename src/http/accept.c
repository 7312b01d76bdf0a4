/* The accepting thread: poll the listening socket, take what waits in bounded bursts, hand it on.
 *
 * At `max` open connections it leaves the listening socket alone and waits for one to close; out of
 * descriptors or memory it tries again after a pause. Either way clients wait in the socket's
 * backlog. The eventfd wakes it for room and for the stop. */
#define _GNU_SOURCE /* accept4 */
#include "accept.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../base/log.h"

#define BURST 64
#define PAUSE_MS 100

static void wake(struct acceptor *a)
{
    uint64_t one = 1;
    ssize_t n = write(a->wake_fd, &one, sizeof one);
    (void)n; /* it fails only when the counter is full, and then it is awake */
}

/* Wait for a connection to come, or without `listens` only to be woken. */
static void wait_for_work(struct acceptor *a, bool listens, int timeout_ms)
{
    struct pollfd p[2] = { { .fd = a->wake_fd, .events = POLLIN },
                           { .fd = a->listen_fd, .events = POLLIN } };
    uint64_t count;
    if (poll(p, listens ? 2 : 1, timeout_ms) <= 0 || !(p[0].revents & POLLIN))
        return;
    ssize_t n = read(a->wake_fd, &count, sizeof count);
    (void)n;
}

/* true: at the limit. The flag is up before the second look, so whoever closes one in between wakes
 * us. */
static bool is_full(struct acceptor *a)
{
    if (atomic_load(&a->open) < a->max)
        return false;
    atomic_store(&a->is_waiting, true);
    if (atomic_load(&a->open) >= a->max)
        return true;
    atomic_store(&a->is_waiting, false);
    return false;
}

/* One connection. 0: taken, or that client is gone; else the errno that ends the burst. */
static int accept_one(struct acceptor *a)
{
    struct sockaddr_storage from = { 0 };
    socklen_t len = sizeof from;
    int fd = accept4(a->listen_fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return errno == EINTR || errno == ECONNABORTED ? 0 : errno;
    atomic_fetch_add(&a->open, 1); /* first: it may close before take returns */
    if (!a->take(a->arg, fd, (struct sockaddr *)&from, len))
        atomic_fetch_sub(&a->open, 1);
    return 0;
}

static void *acceptor_main(void *arg)
{
    struct acceptor *a = arg;
    bool is_short = false; /* of descriptors or memory; logged once each time it begins */
    while (!atomic_load(&a->is_stopping)) {
        if (is_full(a)) {
            wait_for_work(a, false, -1);
            atomic_store(&a->is_waiting, false);
            continue;
        }
        wait_for_work(a, true, -1);
        int why = 0;
        for (int i = 0; i < BURST && !why && atomic_load(&a->open) < a->max; i++)
            why = accept_one(a);
        if (!why || why == EAGAIN || why == EWOULDBLOCK) {
            is_short = false;
            continue;
        }
        if (!is_short)
            log_warn(NULL, "http.accept_failed", KVS("why", str_of(strerror(why))),
                     KVI("open", atomic_load(&a->open)));
        is_short = true;
        wait_for_work(a, false, PAUSE_MS);
    }
    return NULL;
}

enum err_code acceptor_start(struct ctx *cx, struct acceptor *a)
{
    a->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (a->wake_fd < 0)
        return fail(cx, UNAVAILABLE, "cannot make an eventfd: %s", strerror(errno));
    if (pthread_create(&a->thread, NULL, acceptor_main, a)) {
        close(a->wake_fd);
        return fail(cx, UNAVAILABLE, "cannot start the accepting thread");
    }
    a->is_running = true;
    return ERR_NONE;
}

void acceptor_closed_one(struct acceptor *a)
{
    atomic_fetch_sub(&a->open, 1);
    if (atomic_load(&a->is_waiting))
        wake(a);
}

void acceptor_stop(struct acceptor *a)
{
    if (!a->is_running || atomic_exchange(&a->is_stopping, true))
        return;
    wake(a);
    pthread_join(a->thread, NULL);
    close(a->listen_fd);
}

void acceptor_close(struct acceptor *a)
{
    acceptor_stop(a);
    if (a->is_running)
        close(a->wake_fd);
    a->is_running = false;
}
