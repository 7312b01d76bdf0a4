/* The accepting thread: take a place, accept, hand on.
 *
 * A place is taken before accepting, so at `max` open connections all others wait in the socket's
 * backlog; out of descriptors or memory it tries again after a pause. It blocks in accept4: with a
 * poll in front, a connection would cost three system calls instead of one, which is a tenth of a
 * short connection. The stop shuts the listening socket down; accept4 then returns (EINVAL). */
#define _GNU_SOURCE /* accept4 */
#include "accept.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/log.h"

#define PAUSE_US 100000

/* Take a place for the next connection. false: the end. */
static bool place_take(struct acceptor *a)
{
    pthread_mutex_lock(&a->lock);
    while (!a->is_stopping && a->open >= a->max)
        pthread_cond_wait(&a->change, &a->lock);
    bool goes_on = !a->is_stopping;
    if (goes_on)
        a->open++;
    pthread_mutex_unlock(&a->lock);
    return goes_on;
}

static void place_give_back(struct acceptor *a)
{
    pthread_mutex_lock(&a->lock);
    if (a->open-- == a->max)
        pthread_cond_signal(&a->change);
    pthread_mutex_unlock(&a->lock);
}

/* Accepting failed: unless it is the stop, wait a little. `is_new`: not the same as before. */
static void pause_after(struct acceptor *a, int why, bool is_new)
{
    int64_t at = clock_mono_us() + PAUSE_US;
    struct timespec until = { at / 1000000, at % 1000000 * 1000 };
    int e = 0;
    pthread_mutex_lock(&a->lock);
    if (is_new && !a->is_stopping)
        log_warn(NULL, "http.accept_failed", KVS("why", str_of(strerror(why))),
                 KVI("open", a->open));
    while (!a->is_stopping && e != ETIMEDOUT)
        e = pthread_cond_timedwait(&a->change, &a->lock, &until);
    pthread_mutex_unlock(&a->lock);
}

static void *acceptor_main(void *arg)
{
    struct acceptor *a = arg;
    int before = 0; /* why the last one failed */
    while (place_take(a)) {
        struct sockaddr_storage from = { 0 };
        socklen_t len = sizeof from;
        int fd =
            accept4(a->listen_fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        int why = fd < 0 ? errno : 0;
        if (why || !a->take(a->arg, fd, (struct sockaddr *)&from, len))
            place_give_back(a);
        if (why == EINTR || why == ECONNABORTED) /* ECONNABORTED: that client is gone again */
            continue;
        if (why)
            pause_after(a, why, why != before);
        before = why;
    }
    return NULL;
}

enum err_code acceptor_start(struct ctx *cx, struct acceptor *a)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->change, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&a->lock, NULL);
    if (pthread_create(&a->thread, NULL, acceptor_main, a)) {
        pthread_cond_destroy(&a->change);
        pthread_mutex_destroy(&a->lock);
        return fail(cx, UNAVAILABLE, "cannot start the accepting thread");
    }
    a->is_running = true;
    return ERR_NONE;
}

void acceptor_closed_one(struct acceptor *a)
{
    place_give_back(a);
}

void acceptor_stop(struct acceptor *a)
{
    if (!a->is_running)
        return;
    pthread_mutex_lock(&a->lock);
    bool is_first = !a->is_stopping;
    a->is_stopping = true;
    pthread_cond_signal(&a->change);
    pthread_mutex_unlock(&a->lock);
    if (!is_first)
        return;
    shutdown(a->listen_fd, SHUT_RDWR);
    pthread_join(a->thread, NULL);
    close(a->listen_fd);
}

void acceptor_close(struct acceptor *a)
{
    acceptor_stop(a);
    if (!a->is_running)
        return;
    pthread_cond_destroy(&a->change);
    pthread_mutex_destroy(&a->lock);
    a->is_running = false;
}
