/* Idempotency-Key: see idem.h. Running requests are a fixed table of 64-bit hashes under one lock;
 * a collision of two different keys in 64 bits would answer one of them "in progress", which is
 * safe. */
#include "idem.h"

#include <pthread.h>
#include <string.h>

#include "../base/clock.h"
#include "../base/crypt.h"

#define RUNNING_MAX 8192

static pthread_mutex_t running_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t running[RUNNING_MAX]; /* open addressing; 0 = free */

#define A(member) offsetof(struct idem_answer, member)
static const struct field answer_fields[] = {
    { "fingerprint", F_STR, A(fingerprint), 0, 0, 0, NULL, NULL, NULL },
    { "headers", F_STR, A(headers), 0, 0, 0, NULL, NULL, NULL },
    { "body", F_STR, A(body), 0, 0, 0, NULL, NULL, NULL },
    { "status", F_INT, A(status), 0, 0, 0, NULL, NULL, NULL },
};
static const struct rec rec_answer =
    REC("IdempotentAnswer", struct idem_answer, answer_fields, NULL);

enum err_code idem_find(struct ctx *cx, struct db *db, const struct caller *who,
                        const struct idem *i, bool *found, struct idem_answer *out)
{
    *found = false;
    enum err_code e = db_one(
        cx, db, &rec_answer,
        "SELECT fingerprint, headers, body, status FROM idempotency_keys WHERE team_id = $1 AND "
        "token_id = $2 "
        "AND route = $3 AND idem_key = $4 AND expires_ms > $5",
        ARGS(VT(who->team_id), VT(caller_subject(who)), VT(i->route), VT(i->key), VI(clock_ms())),
        out);
    if (e == ERR_NOT_FOUND)
        return ERR_NONE;
    if (e)
        return e;
    if (!str_eq(out->fingerprint, hex_of(&cx->arena, i->fingerprint, sizeof i->fingerprint)))
        return ctx_fail_plain(cx, ERR_IDEMPOTENCY_REUSED);
    *found = true;
    return ERR_NONE;
}

enum err_code idem_keep(struct ctx *cx, struct db *db, const struct caller *who,
                        const struct idem *i, const struct idem_answer *a)
{
    /* An expired row may still wait for the purge: it is replaced. A live one (another node was
     * faster) fails the WHERE of the update, and RETURNING then gives no row. */
    struct rec_num n;
    int64_t now = clock_ms();
    enum err_code e =
        db_one(cx, db, &rec_num,
               "INSERT INTO idempotency_keys (team_id, token_id, route, idem_key, fingerprint, "
               "status, headers, body, expires_ms) "
               "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (team_id, token_id, route, "
               "idem_key) DO UPDATE SET "
               "fingerprint = excluded.fingerprint, status = excluded.status, headers = "
               "excluded.headers, body = excluded.body, "
               "expires_ms = excluded.expires_ms WHERE idempotency_keys.expires_ms <= $10 "
               "RETURNING 1 AS n",
               ARGS(VT(who->team_id), VT(caller_subject(who)), VT(i->route), VT(i->key),
                    VT(hex_of(&cx->arena, i->fingerprint, sizeof i->fingerprint)), VI(a->status),
                    VT(a->headers), VT(a->body), VI(now + IDEM_TTL_MS), VI(now)),
               &n);
    if (e != ERR_NOT_FOUND)
        return e;
    cx->retry_after_s = 1;
    return ctx_fail_plain(cx, ERR_IDEMPOTENCY_RUNNING);
}

static uint64_t claim_hash(const struct caller *who, const struct idem *i)
{
    const struct str parts[] = { who->team_id, caller_subject(who), i->route, i->key };
    uint64_t h = 1469598103934665603u;
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
        for (size_t j = 0; j < parts[k].n; j++)
            h = (h ^ (unsigned char)parts[k].p[j]) * 1099511628211u;
        h = (h ^ 0xff) * 1099511628211u;
    }
    return h ? h : 1;
}

/* A full table (thousands of keyed requests in flight) refuses with "in progress": the client tries
 * again. */
bool idem_enter(const struct caller *who, const struct idem *i, uint64_t *claim)
{
    uint64_t h = claim_hash(who, i);
    bool ok = false;
    pthread_mutex_lock(&running_lock);
    size_t at = h % RUNNING_MAX;
    size_t left = RUNNING_MAX - 1; /* one slot stays free, so that every search ends */
    while (left && running[at] && running[at] != h) {
        at = (at + 1) % RUNNING_MAX;
        left--;
    }
    if (left && !running[at]) {
        running[at] = h;
        ok = true;
    }
    pthread_mutex_unlock(&running_lock);
    *claim = h;
    return ok;
}

void idem_leave(uint64_t claim)
{
    pthread_mutex_lock(&running_lock);
    size_t at = claim % RUNNING_MAX;
    while (running[at] && running[at] != claim)
        at = (at + 1) % RUNNING_MAX;
    running[at] = 0;
    /* Close the gap, so that later look-ups still find what was pushed past it. */
    for (size_t next = (at + 1) % RUNNING_MAX; running[next]; next = (next + 1) % RUNNING_MAX) {
        size_t home = running[next] % RUNNING_MAX;
        bool is_between = at <= next ? home > at && home <= next : home > at || home <= next;
        if (is_between)
            continue;
        running[at] = running[next];
        running[next] = 0;
        at = next;
    }
    pthread_mutex_unlock(&running_lock);
}

enum err_code idem_purge(struct ctx *cx, struct db *db, int64_t now_ms, int64_t *gone)
{
    struct list rows;
    enum err_code e = db_list(cx, db, &rec_num,
                              "DELETE FROM idempotency_keys WHERE (team_id, token_id, route, "
                              "idem_key) IN (SELECT team_id, token_id, "
                              "route, idem_key FROM idempotency_keys WHERE expires_ms <= $1 ORDER "
                              "BY expires_ms LIMIT $2) RETURNING 1 AS n",
                              ARGS(VI(now_ms), VI(IDEM_PURGE_MAX)), &rows);
    if (!e)
        *gone = (int64_t)rows.n;
    return e;
}
