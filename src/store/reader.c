/* Reads. SQLite: on the calling thread, which gets a connection of its own at its first read and
 * loses it when it ends. PostgreSQL: a pool of connections; a caller borrows one, and as many
 * threads serve the queued reads.
 *
 * A read sees one state of the database over all its statements. A read inside a read of the same
 * thread (inline) shares its transaction. Owner: store.c; every connection is in `all` or `pool`,
 * so that closing finds it. */
#include <stdlib.h>
#include <time.h>

#include "../base/clock.h"
#include "../base/log.h"
#include "inner.h"

static void reader_close(struct reader *rd)
{
    if (rd->db)
        rd->db->ops->close(rd->db);
    rd->db = NULL;
}

static enum err_code reader_run(struct ctx *cx, struct reader *rd,
                                enum err_code (*fn)(struct ctx *cx, struct db *db, void *arg),
                                void *arg)
{
    enum err_code e;

    if (!rd->db) {
        e = rd->s->backend->open(cx, rd->s, false, &rd->db);
        if (e)
            return e;
    }
    e = rd->db->ops->begin(cx, rd->db, false);
    if (e)
        return e;
    rd->is_busy = true;
    db_unit_begin(rd->db, 0);
    e = fn(cx, rd->db, arg);
    rd->is_busy = false;
    rd->db->ops->rollback(
        rd->db); /* nothing was written: the cheapest end, and one that cannot fail */
    return e;
}

/* --- Inline: a reader per thread --- */

/* The thread ends. */
static void thread_reader_drop(void *arg)
{
    struct reader *rd = arg;
    struct readers *rs = &rd->s->readers;
    struct reader **at;

    pthread_mutex_lock(&rs->lock);
    for (at = &rs->all; *at != rd; at = &(*at)->next)
        ;
    *at = rd->next;
    pthread_mutex_unlock(&rs->lock);
    reader_close(rd);
    free(rd);
}

static struct reader *thread_reader(struct store *s)
{
    struct readers *rs = &s->readers;
    struct reader *rd = pthread_getspecific(rs->key);

    if (rd)
        return rd;
    rd = calloc(1, sizeof *rd);
    BUG_IF(rd == NULL);
    rd->s = s;
    pthread_mutex_lock(&rs->lock);
    rd->next = rs->all;
    rs->all = rd;
    pthread_mutex_unlock(&rs->lock);
    BUG_IF(pthread_setspecific(rs->key, rd) != 0);
    return rd;
}

/* --- Pool --- */

static void deadline_of(const struct ctx *cx, struct timespec *at)
{
    int64_t now = clock_mono_us();
    int64_t us = cx->deadline_us ? cx->deadline_us : now + STORE_READ_WAIT_US;

    at->tv_sec = us / 1000000;
    at->tv_nsec = us % 1000000 * 1000;
}

static struct reader *pool_take(struct ctx *cx, struct readers *rs)
{
    struct timespec at;
    struct reader *rd;
    int rc = 0;

    deadline_of(cx, &at);
    pthread_mutex_lock(&rs->lock);
    while (!rs->idle && rc == 0)
        rc = pthread_cond_timedwait(&rs->wake_idle, &rs->lock, &at);
    rd = rs->idle;
    if (rd)
        rs->idle = rd->next;
    pthread_mutex_unlock(&rs->lock);
    return rd;
}

static void pool_put(struct readers *rs, struct reader *rd)
{
    pthread_mutex_lock(&rs->lock);
    rd->next = rs->idle;
    rs->idle = rd;
    pthread_mutex_unlock(&rs->lock);
    pthread_cond_signal(&rs->wake_idle);
}

enum err_code store_read(struct ctx *cx, struct store *s,
                         enum err_code (*fn)(struct ctx *cx, struct db *db, void *arg), void *arg)
{
    struct reader *rd = s->backend->reads_inline ? thread_reader(s) : pool_take(cx, &s->readers);
    enum err_code e;

    if (!rd)
        return store_unavailable(cx);
    if (rd->is_busy) /* only inline: we are inside a read of this thread */
        return fn(cx, rd->db, arg);
    e = reader_run(cx, rd, fn, arg);
    if (!s->backend->reads_inline)
        pool_put(&s->readers, rd);
    return e;
}

/* --- Queued reads --- */

static void read_unit(struct store *s, struct unit *u)
{
    u->err = store_read(u->cx, s, u->fn, u->arg);
    if (u->ran)
        u->ran(u, u->err);
    u->done(u, u->err);
}

static struct unit *next_unit(struct readers *rs)
{
    struct unit *u;

    pthread_mutex_lock(&rs->lock);
    while (!rs->head && !rs->is_stopping)
        pthread_cond_wait(&rs->wake_thread, &rs->lock);
    u = rs->head;
    if (u) {
        rs->head = u->next;
        if (!rs->head)
            rs->tail = NULL;
    }
    pthread_mutex_unlock(&rs->lock);
    return u;
}

static void *reader_main(void *arg)
{
    struct store *s = arg;
    struct unit *u;

    while ((u = next_unit(&s->readers)) != NULL) {
        atomic_fetch_sub(&s->queued, 1);
        read_unit(s, u);
    }
    return NULL;
}

static bool queue_read(struct readers *rs, struct unit *u)
{
    bool is_taken;

    u->next = NULL;
    pthread_mutex_lock(&rs->lock);
    is_taken = !rs->is_stopping;
    if (is_taken) {
        if (rs->tail)
            rs->tail->next = u;
        else
            rs->head = u;
        rs->tail = u;
    }
    pthread_mutex_unlock(&rs->lock);
    if (is_taken)
        pthread_cond_signal(&rs->wake_thread);
    return is_taken;
}

void store_submit_read(struct store *s, struct unit *u)
{
    u->err = ERR_NONE;
    if (s->backend->reads_inline || s->readers.n_threads == 0) {
        read_unit(s, u);
        return;
    }
    if (atomic_fetch_add(&s->queued, 1) < s->conf.queue_max && queue_read(&s->readers, u))
        return;
    atomic_fetch_sub(&s->queued, 1);
    store_refuse(u);
}

/* --- Begin and end --- */

static void cond_init_mono(pthread_cond_t *c)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
}

void readers_init(struct store *s)
{
    struct readers *rs = &s->readers;

    pthread_mutex_init(&rs->lock, NULL);
    cond_init_mono(&rs->wake_thread);
    cond_init_mono(&rs->wake_idle);
    BUG_IF(pthread_key_create(&rs->key, thread_reader_drop) != 0);
    if (s->backend->reads_inline)
        return;
    rs->n_pool = s->conf.pg_readers > 0 ? (int)s->conf.pg_readers : 1;
    rs->pool = calloc((size_t)rs->n_pool, sizeof *rs->pool);
    BUG_IF(rs->pool == NULL);
    for (int i = 0; i < rs->n_pool; i++) {
        rs->pool[i] = (struct reader){ .s = s, .next = rs->idle };
        rs->idle = &rs->pool[i];
    }
}

enum err_code readers_start(struct ctx *cx, struct store *s)
{
    struct readers *rs = &s->readers;

    if (rs->n_pool == 0)
        return ERR_NONE;
    rs->threads = calloc((size_t)rs->n_pool, sizeof *rs->threads);
    BUG_IF(rs->threads == NULL);
    for (; rs->n_threads < rs->n_pool; rs->n_threads++) {
        if (pthread_create(&rs->threads[rs->n_threads], NULL, reader_main, s) != 0) {
            note(cx, "a reader thread cannot be started");
            return store_unavailable(cx);
        }
    }
    return ERR_NONE;
}

void readers_stop(struct store *s)
{
    struct readers *rs = &s->readers;

    pthread_mutex_lock(&rs->lock);
    rs->is_stopping = true;
    pthread_mutex_unlock(&rs->lock);
    pthread_cond_broadcast(&rs->wake_thread);
    for (int i = 0; i < rs->n_threads; i++)
        pthread_join(rs->threads[i], NULL);
    pthread_key_delete(rs->key);
    while (rs->all) {
        struct reader *rd = rs->all;

        rs->all = rd->next;
        reader_close(rd);
        free(rd);
    }
    for (int i = 0; i < rs->n_pool; i++)
        reader_close(&rs->pool[i]);
    free(rs->pool);
    free(rs->threads);
    pthread_cond_destroy(&rs->wake_idle);
    pthread_cond_destroy(&rs->wake_thread);
    pthread_mutex_destroy(&rs->lock);
}
