/* The token directory, the writing side: see token_dir.h.
 *
 * The table maps 8 bytes of a SHA-256 to an entry; an entry points to a `face`, an unchanging
 * picture of the token's row, and the face says which whole hashes are valid now. A change makes a
 * new face, puts what is new into the table and then swaps the pointer, so a reader sees the old
 * token or the new one, never a mixture, and shares no lock with other readers. Old faces, and
 * tables that were outgrown, are freed at the end of the refresh that replaced them; how readers
 * are kept out of their way is told in token_face.h.
 *
 * Writing (the poll thread, token_dir_refresh, token_dir_settle) is serialised by `lock`, which is
 * held over the read of the rows. Leaves out: faces (token_face.c), who may do what (token_auth.c),
 * counting and the lists themselves (token_limit.c, token_window.c), SQL that changes tokens
 * (token.c). */
#include <stdlib.h>
#include <string.h>

#include "../base/clock.h"
#include "../base/log.h"
#include "token_face.h"

#define POLL_MS 200
#define POLL_DEADLINE_US ((int64_t)5 * 1000 * 1000)
#define POLL_CAP ((size_t)16 << 20)
#define PARSE_CAP ((size_t)8 << 20) /* of one row's lists and text */
#define DIR_CAP ((size_t)1 << 30)   /* all entries */
#define PAGE 1000
#define SLOTS_FIRST 1024
#define COUNT_US ((int64_t)10 * 1000 * 1000)
#define COUNT_CHANGED_US ((int64_t)1000 * 1000)

/* ---- finding ---- */

static struct entry *find_id(struct token_dir *d, struct str id)
{
    uint64_t tag = tag_of_id(id);
    for (size_t i = tag & d->by_id->mask;; i = (i + 1) & d->by_id->mask) {
        struct slot *s = &d->by_id->slots[i];
        struct entry *en = atomic_load_explicit(&s->entry, memory_order_relaxed);
        if (!en || (s->tag == tag && str_eq(en->id, id)))
            return en;
    }
}

static void put_face_keys(struct table *t, struct entry *en, const struct face *f)
{
    if (f->is_deleted)
        return;
    table_put(t, tag_of(f->hash), en);
    if (f->previous_until_ms)
        table_put(t, tag_of(f->previous), en);
}

/* Room for a few more keys in both tables. The new by_hash holds only the hashes that are valid
 * now. */
static void tables_grow(struct token_dir *d)
{
    struct table *ids = d->by_id, *old = atomic_load_explicit(&d->by_hash, memory_order_relaxed),
                 *t;
    if ((ids->n + 2) * 2 > ids->mask) {
        t = table_new((ids->mask + 1) * 2);
        for (size_t i = 0; i <= ids->mask; i++) {
            struct entry *en = atomic_load_explicit(&ids->slots[i].entry, memory_order_relaxed);
            if (en)
                table_put(t, ids->slots[i].tag, en);
        }
        free(ids); /* readers never see it */
        d->by_id = ids = t;
    }
    if ((old->n + 3) * 2 <= old->mask)
        return;
    /* Two keys an entry may be needed: sized from the entries, so that stale keys are dropped and
     * not copied. */
    size_t n_slots = SLOTS_FIRST;
    while (n_slots < ids->n * 8)
        n_slots *= 2;
    t = table_new(n_slots);
    t->older = old;
    for (size_t i = 0; i <= ids->mask; i++) {
        struct entry *en = atomic_load_explicit(&ids->slots[i].entry, memory_order_relaxed);
        if (en)
            put_face_keys(t, en, atomic_load_explicit(&en->face, memory_order_relaxed));
    }
    atomic_store_explicit(&d->by_hash, t, memory_order_release);
}

/* ---- rows to entries ---- */

static enum err_code apply_row(struct ctx *cx, struct token_dir *d, const struct token *row)
{
    struct entry *en = find_id(d, row->id);
    struct face *old = en ? atomic_load_explicit(&en->face, memory_order_relaxed) : NULL;
    struct windows *ws = en ? en->windows : NULL;
    bool was_live = old && !old->is_deleted;
    bool is_live = !str_eq(row->status, STR("deleted"));
    if (!en && !is_live)
        return ERR_NONE;
    if (is_live && !was_live && atomic_load(&d->live) >= TOKEN_DIR_MAX)
        return fail(cx, UNAVAILABLE, "There are more than %d tokens", TOKEN_DIR_MAX);
    struct face *f = face_new(d, row, &ws);
    tables_grow(d);
    if (!en) {
        en = ARENA_NEW(&d->arena, struct entry);
        en->id = str_dup(&d->arena, row->id);
        en->team_id = str_dup(&d->arena, row->team_id);
        atomic_store_explicit(&en->face, f, memory_order_relaxed);
        table_put(d->by_id, tag_of_id(en->id), en);
    }
    en->windows = ws;
    put_face_keys(atomic_load_explicit(&d->by_hash, memory_order_relaxed), en, f);
    atomic_store_explicit(&en->face, f, memory_order_release);
    face_retire(d, old, ws);
    atomic_fetch_add(&d->live, (long long)is_live - (long long)was_live);
    return ERR_NONE;
}

struct pager {
    struct token_dir *d;
    int64_t n;
};

static enum err_code page_row(struct ctx *cx, void *row, void *arg)
{
    struct pager *p = arg;
    const struct token *t = row;
    enum err_code e = apply_row(cx, p->d, t);
    if (!e)
        p->d->rev = t->rev;
    p->n++;
    return e;
}

/* Rows come in the order of revs, which is the order of commits, so d->rev may follow row by row.
 * Each change of a token takes a rev of its own, so no two rows share one and a page never cuts
 * between them. */
static enum err_code read_changes(struct ctx *cx, struct db *db, void *arg)
{
    struct token_dir *d = arg;
    struct pager p = { .d = d };
    struct rec_num feed;
    db_scope_system(db);
    enum err_code e =
        db_one(cx, db, &rec_num, "SELECT value AS n FROM change_feed WHERE name = 'token'", NO_ARGS,
               &feed);
    if (e == ERR_NOT_FOUND) {
        note(cx, "the change feed of tokens is missing");
        return ctx_fail_plain(cx, ERR_INTERNAL);
    }
    if (e || feed.n <= d->rev)
        return e;
    do {
        p.n = 0;
        e = db_each(cx, db, &rec_token_row,
                    "SELECT team_id, id, name, token_hash, previous_hash, previous_until_ms, "
                    "status, rate_limit, scopes, allowed_endpoints, allowed_ips, limits, "
                    "metadata, expires_ms, rev FROM integration_tokens WHERE "
                    "rev > $1 ORDER BY rev LIMIT 1000",
                    ARGS(VI(d->rev)), page_row, &p);
    } while (!e && p.n == PAGE);
    if (!e && d->rev < feed.n)
        d->rev = feed.n;
    return e;
}

enum err_code token_dir_refresh(struct ctx *cx, struct token_dir *d)
{
    pthread_mutex_lock(&d->lock);
    enum err_code e = store_read(cx, d->store, read_changes, d);
    old_free(d);
    pthread_mutex_unlock(&d->lock);
    return e;
}

static bool is_settled(int64_t window_ms)
{
    return window_ms >= MINUTE_MS && window_ms % MINUTE_MS == 0;
}

static void windows_add(struct window_lengths *out, int64_t window_ms)
{
    for (size_t i = 0; i < out->n; i++)
        if (out->ms[i] == window_ms)
            return;
    if (out->n < WINDOW_LENGTHS_MAX)
        out->ms[out->n++] = window_ms;
}

void token_dir_windows(struct token_dir *d, struct window_lengths *out)
{
    *out = (struct window_lengths){ .ms = { HOUR_MS }, .n = 1 };
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i <= d->by_id->mask; i++) {
        struct entry *en = atomic_load_explicit(&d->by_id->slots[i].entry, memory_order_relaxed);
        const struct face *f = en ? atomic_load_explicit(&en->face, memory_order_relaxed) : NULL;
        for (size_t k = 0; f && !f->is_deleted && k < f->n_rules; k++)
            if (is_settled(f->rules[k].rule.window_ms))
                windows_add(out, f->rules[k].rule.window_ms);
    }
    d->has_new_cells = false;
    pthread_mutex_unlock(&d->lock);
}

bool token_dir_has_new_windows(struct token_dir *d)
{
    pthread_mutex_lock(&d->lock);
    bool has_new = d->has_new_cells;
    pthread_mutex_unlock(&d->lock);
    return has_new;
}

void token_dir_settle(struct token_dir *d, struct str token_id, const struct token_counts *c)
{
    pthread_mutex_lock(&d->lock);
    struct entry *en = find_id(d, token_id);
    if (en && c->window_ms == HOUR_MS)
        hour_settle(&en->used, c->index * HOUR_MS, c->running);
    if (en && en->windows) {
        pthread_mutex_lock(&en->windows->lock);
        for (struct window_cell *cell = en->windows->cells; cell; cell = cell->next)
            if (cell->window_ms == c->window_ms)
                window_settle(&cell->w, c->index, c->running, c->before);
        pthread_mutex_unlock(&en->windows->lock);
    }
    pthread_mutex_unlock(&d->lock);
}

int64_t token_dir_count(struct token_dir *d)
{
    return atomic_load_explicit(&d->live, memory_order_relaxed);
}

int64_t token_dir_expiring(struct token_dir *d)
{
    return atomic_load_explicit(&d->expiring, memory_order_relaxed);
}

/* ---- what expires soon ---- */

/* After a change at most once a second, else every ten seconds: it walks over all tokens. */
static void count_expiring(struct token_dir *d)
{
    int64_t now_us = clock_mono_us(), now = clock_ms();
    long long n = 0;
    pthread_mutex_lock(&d->lock);
    int64_t age_us = now_us - d->counted_at_us;
    bool is_due =
        !d->counted_at_us || age_us > (d->rev != d->counted_rev ? COUNT_CHANGED_US : COUNT_US);
    for (size_t i = 0; is_due && i <= d->by_id->mask; i++) {
        struct entry *en = atomic_load_explicit(&d->by_id->slots[i].entry, memory_order_relaxed);
        const struct face *f = en ? atomic_load_explicit(&en->face, memory_order_relaxed) : NULL;
        n += f && f->is_active && f->expires_ms > now && f->expires_ms - now < TOKEN_SOON_MS;
    }
    if (is_due) {
        d->counted_at_us = now_us;
        d->counted_rev = d->rev;
        atomic_store_explicit(&d->expiring, n, memory_order_relaxed);
    }
    pthread_mutex_unlock(&d->lock);
}

/* ---- polling ---- */

/* Sleep a turn; false when it is time to stop. */
static bool poll_wait(struct token_dir *d)
{
    int64_t us = clock_mono_us() + POLL_MS * 1000;
    struct timespec at = { us / 1000000, us % 1000000 * 1000 };
    int rc = 0;
    pthread_mutex_lock(&d->stop_lock);
    while (!d->is_stopping && rc == 0)
        rc = pthread_cond_timedwait(&d->wake, &d->stop_lock, &at);
    bool goes_on = !d->is_stopping;
    pthread_mutex_unlock(&d->stop_lock);
    return goes_on;
}

static void *poll_main(void *arg)
{
    struct token_dir *d = arg;
    bool has_failed = false;
    while (poll_wait(d)) {
        struct ctx cx;
        ctx_init(&cx, POLL_CAP);
        cx.deadline_us = clock_mono_us() + POLL_DEADLINE_US;
        enum err_code e = token_dir_refresh(&cx, d);
        if (e && !has_failed)
            log_warn(&cx, "token_dir.poll_failed", KVC("error", err_info(e)->name));
        else if (!e && has_failed)
            log_info(&cx, "token_dir.poll_works", KVI("tokens", token_dir_count(d)));
        has_failed = e != ERR_NONE;
        ctx_done(&cx);
        count_expiring(d);
    }
    return NULL;
}

enum err_code token_dir_start(struct ctx *cx, struct token_dir *d)
{
    BUG_IF(d->is_started);
    if (pthread_create(&d->thread, NULL, poll_main, d) != 0) {
        note(cx, "the thread that follows the tokens cannot be started");
        return ctx_fail_plain(cx, ERR_UNAVAILABLE);
    }
    d->is_started = true;
    return ERR_NONE;
}

/* ---- begin and end ---- */

enum err_code token_dir_open(struct ctx *cx, struct store *store, int64_t bad_per_minute,
                             struct token_dir **out)
{
    struct token_dir *d = calloc(1, sizeof *d);
    pthread_condattr_t attr;
    BUG_IF(!d);
    d->store = store;
    d->bad_per_minute = bad_per_minute;
    for (int i = 0; i < GATES; i++)
        pthread_mutex_init(&d->gates[i].lock, NULL);
    d->wrong = wrong_open();
    d->wrong_verify = wrong_open();
    d->by_id = table_new(SLOTS_FIRST);
    atomic_init(&d->by_hash, table_new(SLOTS_FIRST));
    arena_init(&d->arena, DIR_CAP);
    ctx_init(&d->parse, PARSE_CAP);
    pthread_mutex_init(&d->lock, NULL);
    pthread_mutex_init(&d->stop_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->wake, &attr);
    pthread_condattr_destroy(&attr);
    enum err_code e = token_dir_refresh(cx, d);
    if (e) {
        token_dir_close(d);
        return e;
    }
    count_expiring(d);
    *out = d;
    return ERR_NONE;
}

static void entries_done(struct token_dir *d)
{
    for (size_t i = 0; i <= d->by_id->mask; i++) {
        struct entry *en = atomic_load(&d->by_id->slots[i].entry);
        if (!en)
            continue;
        free(atomic_load(&en->face));
        if (!en->windows)
            continue;
        cells_free(en->windows->cells);
        pthread_mutex_destroy(&en->windows->lock);
    }
}

void token_dir_close(struct token_dir *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&d->stop_lock);
    d->is_stopping = true;
    pthread_mutex_unlock(&d->stop_lock);
    pthread_cond_signal(&d->wake);
    if (d->is_started)
        pthread_join(d->thread, NULL);
    entries_done(d);
    ctx_done(&d->parse);
    arena_done(&d->arena);
    table_free(atomic_load(&d->by_hash));
    table_free(d->by_id);
    wrong_close(d->wrong);
    wrong_close(d->wrong_verify);
    pthread_cond_destroy(&d->wake);
    pthread_mutex_destroy(&d->stop_lock);
    pthread_mutex_destroy(&d->lock);
    for (int i = 0; i < GATES; i++)
        pthread_mutex_destroy(&d->gates[i].lock);
    free(d);
}
