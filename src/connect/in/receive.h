/* A webhook that comes in: whose it is, whether it holds, and its row.
 *
 * Two steps. hook_meet reads: the integration, its secrets, the judgement (hook_verify.h); what does
 * not hold ends here and has written nothing. hook_keep writes what held: the ledger, the log and
 * the job in one unit, so that what is acknowledged is there, once. Any thread; the second one may
 * run twice and depends on the first one's result alone. */
#ifndef TESSERA_CONNECT_IN_RECEIVE_H
#define TESSERA_CONNECT_IN_RECEIVE_H

#include "../../core/caller.h"
#include "../../store/store.h"
#include "../hook_verify.h"
#include "brake.h"

#define HOOK_FULL 2 /* times the quota: past it nothing is taken */

struct hook_desk {       /* lives as long as the server */
    struct brake *brake; /* NULL: none */
    struct str base;     /* the setting public_url, without a slash at its end; may be "" */
    int64_t quota_bytes; /* of stored payloads of a team */
};

struct hook_in {   /* the request */
    struct str id; /* of the integration, from the path */
    struct str ip;
    struct hook_ask ask; /* filled by hook_meet: scheme, secrets, url, now_ms, is_awaiting */
};

struct hook_met { /* lives in the ctx of hook_meet */
    struct str team_id, integration_id;
    struct hook_verdict verdict;
    bool has_writing;        /* hook_keep is to be called, and only then the reply sent */
    struct str confirmed_id; /* a secret that held for the first time; else STR_NONE */
    struct str ip;
    int64_t now_ms;
    /* the event */
    struct str event_id, body, headers;
    const char *body_form;
    int64_t size_bytes;
};

/* In a read. NOT_FOUND: no such integration, or it is switched off; BAD_SIGNATURE with the reason;
 * RATE_LIMITED for who was refused too often; TOO_LARGE; UNAVAILABLE when the team's place is full. */
enum err_code hook_meet(struct ctx *cx, struct db *db, const struct hook_desk *desk,
                        struct hook_in *in, struct hook_met *out);
/* In a write unit whose scope is out->team_id, when has_writing is set. BAD_SIGNATURE when the
 * handshake is not awaited any more. */
enum err_code hook_keep(struct ctx *cx, struct db *db, const struct hook_met *m);
/* Whether there is an integration that takes webhooks; NOT_FOUND. In a read. */
enum err_code hook_exists(struct ctx *cx, struct db *db, struct str id);

#endif
