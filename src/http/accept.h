/* Accepts connections on a thread of its own and hands each on.
 *
 * libmicrohttpd can accept by itself, but its event threads then share the listening socket, and its
 * way to stop that (MHD_quiesce_daemon) removes the socket from their epoll sets behind their backs:
 * both sides may remove it, or one finds it closed, and either aborts the process. Here the socket
 * belongs to one thread, so stopping it is a join. Private to http/. */
#ifndef TESSERA_HTTP_ACCEPT_H
#define TESSERA_HTTP_ACCEPT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "../base/ctx.h"

struct acceptor {
    /* What the owner fills in before acceptor_start. */
    int listen_fd; /* listening, blocking; owned from the start on */
    int64_t max;   /* connections at once; more wait in the backlog of the socket */
    /* Takes `fd` over (non-blocking, close-on-exec). false: it has closed it, and it is not counted.
     * On the acceptor's thread. */
    bool (*take)(void *arg, int fd, const struct sockaddr *from, socklen_t from_len);
    void *arg;

    /* Its own. */
    bool is_running;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t change; /* a place has come free, or the stop */
    bool is_stopping;      /* under lock */
    int64_t open;          /* under lock; with the one being waited for */
};

/* Start to accept. UNAVAILABLE when there is no thread; then nothing is owned. */
enum err_code acceptor_start(struct ctx *cx, struct acceptor *a);
/* A connection that was taken has closed. Any thread, until acceptor_close. */
void acceptor_closed_one(struct acceptor *a);
/* Accept no more: the thread has ended and the listening socket is closed when this returns, so new
 * clients are refused. Fine when it was never started. */
void acceptor_stop(struct acceptor *a);
/* After acceptor_stop, when nobody calls acceptor_closed_one any more. */
void acceptor_close(struct acceptor *a);

#endif
