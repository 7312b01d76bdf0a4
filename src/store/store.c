/* The database as a whole: which backend, opening, starting and stopping the threads, handing units
 * to writers.
 *
 * store_open opens the first write connection, so that a wrong path or password is told at once;
 * the other writers and the readers open theirs when they need them. One counter bounds what waits
 * over all writers.
 *
 * Leaves out: batches (batch.c), queues (writer.c), reads (reader.c), migrations (migrate.c),
 * copies (backup.c). */
#include "store.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "inner.h"

#define SETTINGS_CAP ((size_t)64 << 10)
#define QUEUE_MAX_DEFAULT 10000

static const struct {
    struct str prefix;
    const struct backend *backend;
} kinds[] = {
    { { "sqlite:", 7 }, &backend_sqlite },
    { { "postgresql://", 13 }, &backend_postgres },
    { { "postgres://", 11 }, &backend_postgres },
};

static const struct backend *backend_of(struct str database)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (str_starts(database, kinds[i].prefix) && database.n > kinds[i].prefix.n)
            return kinds[i].backend;
    return NULL;
}

static void store_free(struct store *s)
{
    for (int i = 0; i < s->n_writers; i++)
        writer_done(&s->writers[i]);
    free(s->writers);
    arena_done(&s->arena);
    free(s);
}

enum err_code store_open(struct ctx *cx, const struct store_conf *conf, struct store **out)
{
    const struct backend *b = backend_of(conf->database);
    struct store *s;
    enum err_code e;

    if (!b)
        return fail(cx, USAGE, "database must be sqlite:PATH or postgresql://…");
    s = calloc(1, sizeof *s);
    BUG_IF(s == NULL);
    arena_init(&s->arena, SETTINGS_CAP);
    s->conf = *conf;
    s->conf.database = str_of(str_cstr(&s->arena, conf->database));
    if (s->conf.queue_max <= 0)
        s->conf.queue_max = QUEUE_MAX_DEFAULT;
    s->backend = b;
    s->n_writers = b->writers(&s->conf);
    BUG_IF(s->n_writers < 1);
    s->writers = calloc((size_t)s->n_writers, sizeof *s->writers);
    BUG_IF(s->writers == NULL);
    for (int i = 0; i < s->n_writers; i++)
        writer_init(&s->writers[i], s, i);
    e = b->open(cx, s, true, &s->writers[0].db);
    if (e) {
        store_free(s);
        return e;
    }
    readers_init(s);
    *out = s;
    return ERR_NONE;
}

enum err_code store_start(struct ctx *cx, struct store *s, const struct store_hooks *hooks)
{
    enum err_code e = ERR_NONE;

    BUG_IF(s->is_started);
    if (hooks)
        s->hooks = *hooks;
    s->is_started = true;
    for (int i = 0; i < s->n_writers && !e; i++) {
        struct writer *w = &s->writers[i];

        if (!w->db)
            e = s->backend->open(cx, s, true, &w->db);
        if (!e && s->backend->start)
            e = s->backend->start(cx, w->db);
        if (!e)
            e = writer_start(cx, w);
    }
    return e ? e : readers_start(cx, s);
}

void store_close(struct store *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n_writers; i++)
        writer_stop(&s->writers[i]);
    readers_stop(s);
    store_free(s);
}

bool store_is_postgres(const struct store *s)
{
    return s->backend == &backend_postgres;
}

int store_writers(const struct store *s)
{
    return s->n_writers;
}

struct str store_path(const struct store *s)
{
    struct str prefix = kinds[0].prefix;

    if (store_is_postgres(s))
        return STR_NONE;
    return str_sub(s->conf.database, prefix.n, s->conf.database.n);
}

const struct store_conf *store_settings(const struct store *s)
{
    return &s->conf;
}

bool store_reads_inline(const struct store *s)
{
    return s->backend->reads_inline;
}

/* --- Units --- */

enum err_code store_unavailable(struct ctx *cx)
{
    cx->retry_after_s = 1;
    return ctx_fail_plain(cx, ERR_UNAVAILABLE);
}

void store_refuse(struct unit *u)
{
    ctx_clear(u->cx);
    u->err = store_unavailable(u->cx);
    u->done(u, u->err);
}

void store_submit(struct store *s, struct unit *u, uint64_t key)
{
    /* Before the start only the first writer has its connection. */
    struct writer *w = &s->writers[s->is_started ? key % (uint64_t)s->n_writers : 0];

    u->err = ERR_NONE;
    if (atomic_fetch_add(&s->queued, 1) < s->conf.queue_max && writer_submit(w, u))
        return;
    atomic_fetch_sub(&s->queued, 1);
    store_refuse(u);
}

struct waiter {
    struct unit unit; /* first: waiter_done finds the waiter by it (tag belongs to the hooks) */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_done; /* lock */
};

static void waiter_done(struct unit *u, enum err_code e)
{
    struct waiter *wait = (struct waiter *)(void *)u;

    (void)e;
    pthread_mutex_lock(&wait->lock);
    wait->is_done = true;
    pthread_cond_signal(&wait->wake);
    pthread_mutex_unlock(&wait->lock);
}

enum err_code store_tx_with(struct ctx *cx, struct store *s,
                            enum err_code (*fn)(struct ctx *cx, struct db *db, void *arg),
                            void *arg, unsigned flags)
{
    struct waiter wait = {
        .unit = { .fn = fn, .done = waiter_done, .cx = cx, .arg = arg, .flags = flags },
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .wake = PTHREAD_COND_INITIALIZER,
    };

    store_submit(s, &wait.unit, (uint64_t)(uintptr_t)pthread_self() >> 12);
    pthread_mutex_lock(&wait.lock);
    while (!wait.is_done) /* bounded: the writer answers every unit that it took */
        pthread_cond_wait(&wait.wake, &wait.lock);
    pthread_mutex_unlock(&wait.lock);
    return wait.unit.err;
}

enum err_code store_tx(struct ctx *cx, struct store *s,
                       enum err_code (*fn)(struct ctx *cx, struct db *db, void *arg), void *arg)
{
    return store_tx_with(cx, s, fn, arg, 0);
}

void store_stats(struct store *s, struct store_stats *out)
{
    struct stat st;
    struct arena a;

    *out = (struct store_stats){
        .batches = atomic_load(&s->batches),
        .units = atomic_load(&s->units),
        .reruns = atomic_load(&s->reruns),
        .commit_failures = atomic_load(&s->commit_failures),
        .commit_us_sum = atomic_load(&s->commit_us_sum),
        .queued = atomic_load(&s->queued),
    };
    if (store_is_postgres(s))
        return;
    arena_init(&a, SETTINGS_CAP);
    if (stat(str_printf(&a, STR_FMT "-wal", STR_ARG(store_path(s))).p, &st) == 0)
        out->wal_bytes = st.st_size;
    arena_done(&a);
}
