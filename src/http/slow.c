/* The slow pool: handlers that block (password checks, reports, exports, attachments) run here, so
 * that neither the event threads nor the store's wait for them.
 *
 * A fixed number of threads and a bounded queue; when it is full the answer is 503 at once. A
 * request is suspended while it is here, as with the store, and the stop of the server waits for
 * it in the same way. */
#include <stdlib.h>

#include "../base/log.h"
#include "exchange.h"

#define SLOW_QUEUE_MAX 256

struct slow {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct exchange *queue[SLOW_QUEUE_MAX]; /* ring */
    size_t head, n;
    bool is_stopping;
    int64_t n_threads;
    pthread_t threads[];
};

static struct exchange *take(struct slow *p)
{
    struct exchange *x = NULL;
    pthread_mutex_lock(&p->lock);
    while (!p->n && !p->is_stopping)
        pthread_cond_wait(&p->more, &p->lock);
    if (p->n) {
        x = p->queue[p->head];
        p->head = (p->head + 1) % SLOW_QUEUE_MAX;
        p->n--;
    }
    pthread_mutex_unlock(&p->lock);
    return x;
}

static void *slow_main(void *arg)
{
    struct slow *p = arg;
    for (struct exchange *x; (x = take(p));)
        exchange_slow_run(x);
    return NULL;
}

enum err_code slow_start(struct ctx *cx, int64_t threads, struct slow **out)
{
    struct slow *p = calloc(1, sizeof *p + sizeof(pthread_t) * (size_t)threads);
    BUG_IF(!p);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->more, NULL);
    *out = p;
    for (; p->n_threads < threads; p->n_threads++)
        if (pthread_create(&p->threads[p->n_threads], NULL, slow_main, p))
            return fail(cx, UNAVAILABLE, "slow_threads: cannot start a thread");
    return ERR_NONE;
}

bool slow_submit(struct slow *p, struct exchange *x)
{
    pthread_mutex_lock(&p->lock);
    bool is_taken = p->n < SLOW_QUEUE_MAX && !p->is_stopping;
    if (is_taken) {
        p->queue[(p->head + p->n++) % SLOW_QUEUE_MAX] = x;
        pthread_cond_signal(&p->more);
    }
    pthread_mutex_unlock(&p->lock);
    return is_taken;
}

void slow_stop(struct slow *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->is_stopping = true;
    pthread_cond_broadcast(&p->more);
    pthread_mutex_unlock(&p->lock);
    for (int64_t i = 0; i < p->n_threads; i++)
        pthread_join(p->threads[i], NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->more);
    free(p);
}
