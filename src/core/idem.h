/* Idempotency-Key: the first answer of a POST is kept for 24 hours and given again. Owner of table
 * idempotency_keys.
 *
 * The answer is stored in the transaction of the write itself, so either both are durable or
 * neither; only successes are kept (a failed request may be sent again). Requests with the same key
 * that run at the same moment are found by a small table in memory (idem_enter) and, between nodes,
 * by the unique key. */
#ifndef TESSERA_CORE_IDEM_H
#define TESSERA_CORE_IDEM_H

#include "../store/store.h"
#include "caller.h"

#define IDEM_KEY_MAX 255
#define IDEM_TTL_MS (24 * 3600 * INT64_C(1000))

struct idem {
    struct str route;              /* "POST /v1/tickets" with ids filled in */
    struct str key;                /* 1–255 printable ASCII characters */
    unsigned char fingerprint[32]; /* SHA-256 of the body */
};
struct idem_answer {
    struct rec_bits bits;
    struct str fingerprint, headers, body; /* headers: JSON object of Location, ETag */
    int64_t status;
};
/* In a unit: NONE with *found = true and the stored answer, or found = false: go on.
 * IDEMPOTENCY_REUSED for another body. */
enum err_code idem_find(struct ctx *cx, struct db *db, const struct caller *who,
                        const struct idem *i, bool *found, struct idem_answer *out);
/* In the same unit after the handler: keep the answer. */
enum err_code idem_keep(struct ctx *cx, struct db *db, const struct caller *who,
                        const struct idem *i, const struct idem_answer *a);
/* Process-wide claims: false when a request with this (team, caller, route, key) runs right now. Pair with
 * idem_leave. Any thread. */
bool idem_enter(const struct caller *who, const struct idem *i, uint64_t *claim);
void idem_leave(uint64_t claim);
/* Housekeeping: drop at most IDEM_PURGE_MAX expired rows; *gone counts. */
#define IDEM_PURGE_MAX 500
enum err_code idem_purge(struct ctx *cx, struct db *db, int64_t now_ms, int64_t *gone);

#endif
