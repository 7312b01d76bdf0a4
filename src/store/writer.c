/* A writer: a queue of units of work and the thread that turns it into batches.
 *
 * Producers append under the lock and wake the thread only when it sleeps. The thread takes the
 * whole queue at once and cuts batches of at most STORE_BATCH_MAX from it; while it commits one,
 * the next gathers. A unit marked UNIT_ALONE gets a batch to itself, in its place in the order.
 * Without a thread (command line) a unit runs at once on the caller's.
 *
 * Owner: store.c. Leaves out: what happens inside the transaction (batch.c). */
#include "../base/log.h"
#include "inner.h"

#define WRITER_CAP ((size_t)8 << 20) /* memory of the hooks during one batch */

void writer_init(struct writer *w, struct store *s, int index)
{
    *w = (struct writer){ .s = s, .index = index };
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    ctx_init(&w->cx, WRITER_CAP);
}

void writer_done(struct writer *w)
{
    if (w->db)
        w->db->ops->close(w->db);
    ctx_done(&w->cx);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
}

/* Everything that is queued; waits for it. NULL: stopping and nothing left. */
static struct unit *take_queue(struct writer *w)
{
    struct unit *u;

    pthread_mutex_lock(&w->lock);
    while (!w->head && !w->is_stopping) {
        w->is_sleeping = true;
        pthread_cond_wait(&w->wake, &w->lock);
    }
    w->is_sleeping = false;
    u = w->head;
    w->head = w->tail = NULL;
    pthread_mutex_unlock(&w->lock);
    return u;
}

/* Move the next batch from w->taken into units. */
static size_t cut_batch(struct writer *w, struct unit **units)
{
    size_t n = 0;

    while (w->taken && n < STORE_BATCH_MAX) {
        struct unit *u = w->taken;
        bool is_alone = (u->flags & UNIT_ALONE) != 0;

        if (is_alone && n > 0)
            break;
        units[n++] = u;
        w->taken = u->next;
        u->next = NULL;
        if (is_alone)
            break;
    }
    atomic_fetch_sub(&w->s->queued, (long long)n);
    return n;
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    struct unit *units[STORE_BATCH_MAX];

    for (;;) {
        if (!w->taken)
            w->taken = take_queue(w);
        if (!w->taken)
            return NULL;
        batch_run(w, units, cut_batch(w, units));
    }
}

enum err_code writer_start(struct ctx *cx, struct writer *w)
{
    w->is_threaded = true;
    if (pthread_create(&w->thread, NULL, writer_main, w) == 0)
        return ERR_NONE;
    w->is_threaded = false;
    note(cx, "the writer thread cannot be started");
    return ctx_fail_plain(cx, ERR_UNAVAILABLE);
}

bool writer_submit(struct writer *w, struct unit *u)
{
    bool is_asleep;

    u->next = NULL;
    pthread_mutex_lock(&w->lock);
    if (w->is_stopping) {
        pthread_mutex_unlock(&w->lock);
        return false;
    }
    if (!w->is_threaded) {
        atomic_fetch_sub(&w->s->queued, 1);
        batch_run(w, &u, 1);
        pthread_mutex_unlock(&w->lock);
        return true;
    }
    if (w->tail)
        w->tail->next = u;
    else
        w->head = u;
    w->tail = u;
    is_asleep = w->is_sleeping;
    w->is_sleeping = false;
    pthread_mutex_unlock(&w->lock);
    if (is_asleep)
        pthread_cond_signal(&w->wake);
    return true;
}

void writer_stop(struct writer *w)
{
    pthread_mutex_lock(&w->lock);
    w->is_stopping = true;
    pthread_mutex_unlock(&w->lock);
    pthread_cond_signal(&w->wake);
    if (w->is_threaded)
        pthread_join(w->thread, NULL);
    w->is_threaded = false;
}
