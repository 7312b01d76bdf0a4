/* Connections and their deadlines.
 *
 * libmicrohttpd's own timeout only sees silence: a peer that sends a byte now and then lives for
 * ever. Here every phase of a connection (waiting for a request, headers, body, sending) gets an
 * absolute deadline, and a thread that wakes twice a second shuts down the sockets that are past
 * theirs; libmicrohttpd then closes them. Lock: `conns_lock` guards the list and the life of each
 * struct conn, so a socket number is never used after its connection has gone. */
#include "exchange.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "../base/clock.h"
#include "../base/log.h"

#define SCAN_NS (500 * 1000 * 1000L)

static pthread_mutex_t conns_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t conns_wake;
static struct conn conns = { .prev = &conns, .next = &conns };
static pthread_t conns_thread;
static bool is_running, is_stopping;

void conn_deadline(struct conn *c, int64_t in_s)
{
    int64_t at = in_s ? clock_mono_us() + in_s * 1000000 : 0;
    atomic_store_explicit(&c->deadline_us, at, memory_order_relaxed);
}

static void conn_opened(struct server *s, struct MHD_Connection *mhd, void **slot)
{
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *addr =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct conn *c = calloc(1, sizeof *c);
    BUG_IF(!c || !fd);
    c->fd = fd->connect_fd;
    c->ip = ip_of_sockaddr(addr ? addr->client_addr : NULL);
    c->is_trusted_proxy = cidrs_match(s->trusted, &c->ip);
    conn_deadline(c, s->conf->header_timeout_s);
    pthread_mutex_lock(&conns_lock);
    c->next = &conns;
    c->prev = conns.prev;
    conns.prev->next = c;
    conns.prev = c;
    pthread_mutex_unlock(&conns_lock);
    atomic_fetch_add(&s->connections, 1);
    *slot = c;
}

void conn_notify(void *cls, struct MHD_Connection *mhd, void **slot,
                 enum MHD_ConnectionNotificationCode what)
{
    struct server *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        conn_opened(s, mhd, slot);
        return;
    }
    struct conn *c = *slot;
    if (!c)
        return;
    pthread_mutex_lock(&conns_lock);
    c->prev->next = c->next;
    c->next->prev = c->prev;
    pthread_mutex_unlock(&conns_lock);
    atomic_fetch_sub(&s->connections, 1);
    acceptor_closed_one(&s->acceptor);
    free(c);
    *slot = NULL;
}

static void conns_scan(struct server *s)
{
    int64_t now = clock_mono_us();
    for (struct conn *c = conns.next; c != &conns; c = c->next) {
        int64_t at = atomic_load_explicit(&c->deadline_us, memory_order_relaxed);
        if (!at || at > now)
            continue;
        shutdown(c->fd, SHUT_RDWR);
        atomic_store_explicit(&c->deadline_us, 0, memory_order_relaxed);
        atomic_fetch_add(&s->refused_timeouts, 1);
    }
}

static void *conns_run(void *arg)
{
    struct server *s = arg;
    pthread_mutex_lock(&conns_lock);
    while (!is_stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += SCAN_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (pthread_cond_timedwait(&conns_wake, &conns_lock, &until) == ETIMEDOUT)
            conns_scan(s);
    }
    pthread_mutex_unlock(&conns_lock);
    return NULL;
}

enum err_code conns_start(struct ctx *cx, struct server *s)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&conns_wake, &attr);
    pthread_condattr_destroy(&attr);
    is_stopping = false;
    if (pthread_create(&conns_thread, NULL, conns_run, s))
        return fail(cx, INTERNAL, "cannot start the connection thread");
    is_running = true;
    return ERR_NONE;
}

void conns_stop(struct server *s)
{
    (void)s;
    if (!is_running)
        return;
    pthread_mutex_lock(&conns_lock);
    is_stopping = true;
    pthread_cond_signal(&conns_wake);
    pthread_mutex_unlock(&conns_lock);
    pthread_join(conns_thread, NULL);
    pthread_cond_destroy(&conns_wake);
    is_running = false;
}
