/* When sessions were last seen: see identity_seen in identity.h.
 *
 * One table of SEEN_SLOTS under a lock; a session may sit in any of the SEEN_WAYS slots behind its
 * hash. What was written stays, so that this process knows better than the row; when the table is
 * crowded the session that was quiet for longest is forgotten, and its row may be a minute late. */
#include "identity.h"

#include <pthread.h>
#include <string.h>
#include <xxhash.h>

#include "../../base/crypt.h"

#define SEEN_SLOTS 16384
#define SEEN_WAYS 8
#define FLUSH_MAX 500 /* rows a unit */

struct seen {
    char id[UUID_TEXT];
    bool is_new; /* later than what was written */
    int64_t at_ms;
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct seen slots[SEEN_SLOTS]; /* lock */

/* The slot of the session, or the one to give it. */
static struct seen *find(struct str id)
{
    uint64_t hash = XXH3_64bits(id.p, id.n);
    struct seen *best = NULL;
    for (uint64_t i = 0; i < SEEN_WAYS; i++) {
        struct seen *s = &slots[(hash + i) % SEEN_SLOTS];
        if (memcmp(s->id, id.p, UUID_TEXT) == 0)
            return s;
        if (!best || s->at_ms < best->at_ms)
            best = s;
    }
    return best;
}

static void put(struct str id, int64_t at_ms)
{
    struct seen *s = find(id);
    if (memcmp(s->id, id.p, UUID_TEXT) != 0) {
        memcpy(s->id, id.p, UUID_TEXT);
        s->at_ms = 0;
        s->is_new = false;
    }
    if (at_ms > s->at_ms) {
        s->at_ms = at_ms;
        s->is_new = true;
    }
}

void identity_seen(struct str session_id, int64_t now_ms)
{
    if (session_id.n != UUID_TEXT)
        return;
    pthread_mutex_lock(&lock);
    put(session_id, now_ms);
    pthread_mutex_unlock(&lock);
}

int64_t identity_seen_at(struct str session_id)
{
    if (session_id.n != UUID_TEXT)
        return 0;
    pthread_mutex_lock(&lock);
    const struct seen *s = find(session_id);
    int64_t at = memcmp(s->id, session_id.p, UUID_TEXT) == 0 ? s->at_ms : 0;
    pthread_mutex_unlock(&lock);
    return at;
}

struct batch {
    size_t n;
    struct seen v[FLUSH_MAX];
};

static void take(struct batch *b, size_t *from)
{
    b->n = 0;
    pthread_mutex_lock(&lock);
    for (; *from < SEEN_SLOTS && b->n < FLUSH_MAX; ++*from)
        if (slots[*from].is_new) {
            slots[*from].is_new = false;
            b->v[b->n++] = slots[*from];
        }
    pthread_mutex_unlock(&lock);
}

static void give_back(const struct batch *b)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < b->n; i++) {
        struct seen *s = find((struct str){ b->v[i].id, UUID_TEXT });
        if (memcmp(s->id, b->v[i].id, UUID_TEXT) == 0)
            s->is_new = true;
    }
    pthread_mutex_unlock(&lock);
}

static enum err_code flush_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct batch *b = arg;
    enum err_code e = ERR_NONE;
    db_scope_system(db);
    for (size_t i = 0; !e && i < b->n; i++)
        e = db_run(cx, db, "UPDATE user_session SET seen_ms = $2 WHERE id = $1 AND seen_ms < $2",
                   ARGS(VT(((struct str){ b->v[i].id, UUID_TEXT })), VI(b->v[i].at_ms)));
    return e;
}

enum err_code identity_flush(struct ctx *cx, struct store *s)
{
    struct batch *b = ARENA_NEW(&cx->arena, struct batch);
    enum err_code e = ERR_NONE;
    for (size_t from = 0; !e && from < SEEN_SLOTS;) {
        take(b, &from);
        if (b->n)
            e = store_tx(cx, s, flush_unit, b);
        if (e)
            give_back(b);
    }
    return e;
}
